"""Rollouts, decisions, standbys, recalls, and the audit of all of it."""
