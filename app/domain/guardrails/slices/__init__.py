"""Slices: a fault that the whole hides, found and named."""
