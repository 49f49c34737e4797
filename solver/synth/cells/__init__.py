"""Rules for each cell: trees over features of its neighbourhood."""
