"""Postgres itself: the pool, transactions, tables, partitions, migrations, the embedded server."""
