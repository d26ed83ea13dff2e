"""After a promotion: the version that is kept warm."""
