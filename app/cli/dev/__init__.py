"""Verbs for developers in a checkout."""
