"""What every exchange adds to the tallies, in memory and in the journal, until Postgres has it."""
