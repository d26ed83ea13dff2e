"""Reads: what handlers and actions ask of the store, put together for them."""
