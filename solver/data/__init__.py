"""Tasks, submissions and journals on disk, and grids as pictures."""
