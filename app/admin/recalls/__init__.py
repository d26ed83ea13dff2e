"""Answers of rolled-back versions, called back."""
