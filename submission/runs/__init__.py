"""Recorded runs: their candidates, scores and pictures."""
