"""Counts of both arms by weight epoch: what was seen, before anybody judges it."""
