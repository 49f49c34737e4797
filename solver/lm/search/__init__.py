"""Searches over what a language model may say: one interface, two kinds of model."""
