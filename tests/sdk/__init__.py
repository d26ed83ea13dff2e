"""Tests of the client that is a distribution of its own."""
