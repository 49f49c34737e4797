"""What the cells of the notebook call: install, check, run, look."""
