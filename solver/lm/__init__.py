"""Language models: formats, the bundled model, training, decoding. Only workers load torch."""
