"""A run: one supervisor, its workers, and what they leave on disk."""
