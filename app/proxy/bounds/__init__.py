"""How much the data plane takes of anything, and how fast it must come."""
