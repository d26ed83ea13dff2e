"""Labels, the answers they are about, and those that still wait for theirs."""
