"""Selection, trust and the two attempts."""
