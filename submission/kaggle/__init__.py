"""Kaggle: settings, datasets, pushes, runs."""
