"""The policy, its costs and shares, and budgets that are kept."""
