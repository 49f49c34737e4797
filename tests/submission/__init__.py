"""The developer's side: notebook, rehearsal, pushes, reports."""
