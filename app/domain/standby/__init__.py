"""After a promotion: whether the version before would be better today."""
