"""Decisions, the audit, counts over time, and decisions made again."""
