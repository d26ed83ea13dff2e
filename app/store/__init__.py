"""Postgres: the only SQL of the project; domain values in and out.

Rule: rows by their key are SQLAlchemy Core, sets (what is summed, joined or written by the thousand) are SQL text.
Times of decisions are the database's; a state that is JSON is parsed by `pg.codec` and by nobody else.
"""
