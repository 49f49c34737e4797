"""Whole runs: their deaths, signals, disks and machines."""
