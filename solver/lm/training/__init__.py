"""Training: the loop for the bundled model and for new tasks, examples, streams of batches."""
