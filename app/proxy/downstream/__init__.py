"""Client connections: what comes in, in order, and who answers it."""
