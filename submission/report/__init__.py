"""The report of a run: a page, finished or growing with the run."""
