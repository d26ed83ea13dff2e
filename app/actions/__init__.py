"""Writes: one transaction per change, the one path for people, CI and the engine."""
