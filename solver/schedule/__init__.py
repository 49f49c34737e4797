"""Who works on what, and for how long: shares, slices, costs, and a simulation of it."""
