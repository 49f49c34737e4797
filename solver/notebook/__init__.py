"""The notebook's side on Kaggle: install, check, run, look."""
