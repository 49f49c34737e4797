"""Tasks, submissions and journals as they stand on disk, and grids as pictures."""
