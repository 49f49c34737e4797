"""Hostile programs in a process of their own, with the kernel's limits around it."""
