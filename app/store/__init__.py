"""Postgres: the only SQL of the project; domain values in and out."""
