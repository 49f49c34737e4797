"""Objects of a grid, and rules that paint, choose or summarize them."""
