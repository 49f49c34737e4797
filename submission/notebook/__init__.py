"""The notebook: its settings, its files, its cells."""
