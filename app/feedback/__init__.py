"""Labels as they come back: read, checked, attributed, kept while Postgres is away, joined."""
