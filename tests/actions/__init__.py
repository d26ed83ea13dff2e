"""One transaction per change, on a real database."""
