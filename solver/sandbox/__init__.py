"""Hostile programs in separate processes, within limits that the kernel enforces."""
