"""Training of the pair model, and its bundle."""
