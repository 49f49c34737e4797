"""What the cells of the notebook call."""
