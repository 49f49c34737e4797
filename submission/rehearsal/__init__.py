"""The notebook run as Kaggle would, on this machine."""
