"""The allocation of time: shares, slices, costs, and a simulation of a whole run."""
