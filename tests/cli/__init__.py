"""The command, as people and pipelines see it."""
