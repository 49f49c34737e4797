"""Hostile programs, and what keeps them in."""
