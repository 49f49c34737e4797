"""Training of the pair model, and bundling of the trained model."""
