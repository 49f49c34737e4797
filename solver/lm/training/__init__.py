"""Test-time training: the loop, its examples, and the streams they come from."""
