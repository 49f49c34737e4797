"""The notebook's part on Kaggle: install, check, run, look at the result."""
