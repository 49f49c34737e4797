"""Parts, completed patterns and placed pieces."""
