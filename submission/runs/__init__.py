"""Recorded runs: what they found, how they score, how they are shown."""
