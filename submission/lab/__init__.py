"""Experiments on recorded runs: other choices, paired comparisons, simulated budgets."""
