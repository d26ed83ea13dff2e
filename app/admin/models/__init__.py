"""Models, their versions and their routes."""
