"""A run: one supervisor, its workers, and the files that they leave on disk."""
