"""Counts by second: tallies, readings of answers, randomization units, matured cohorts."""
