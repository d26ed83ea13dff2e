"""What people read of evidence and decisions, as values."""
