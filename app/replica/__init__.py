"""Between the data plane and Postgres: tables in, tallies out."""
