"""Wheels for a notebook without a network: built, listed, tested."""
