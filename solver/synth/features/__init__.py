"""Features of cells: what a rule may ask about one."""
