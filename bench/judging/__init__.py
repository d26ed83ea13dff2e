"""The decision engine beside its rivals: what is drawn, who judges it, and what is said of it."""
