"""Searches over the outputs of a language model: one interface, two kinds of model."""
