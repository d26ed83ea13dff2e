"""Verbs that keep records: labels in bulk."""
