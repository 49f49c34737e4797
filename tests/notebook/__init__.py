"""The functions that the notebook's cells call."""
