"""Rollouts: started, ordered, read, explained, simulated."""
