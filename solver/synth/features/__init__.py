"""Features of cells: the facts that a cell rule may ask about."""
