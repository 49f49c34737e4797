"""Everything that runs on Kaggle: tasks in, a valid submission out, before the deadline."""

__version__ = "0.4.0"
