"""The exchange with Kaggle: settings, datasets, pushes, runs."""
