"""Ended exchanges looked at when nobody waits: readings, slices, distributions."""
