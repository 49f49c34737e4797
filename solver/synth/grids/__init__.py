"""Search over whole grids: operations, their kernels, and programs of several steps."""
