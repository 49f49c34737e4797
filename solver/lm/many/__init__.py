"""Many tasks at once on one device: each task learns and answers as it would alone."""
