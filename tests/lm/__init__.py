"""The models: formats, learning, search, runs."""
