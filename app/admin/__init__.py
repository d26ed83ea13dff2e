"""REST for people and CI: each resource with its bodies, its views and its routes."""
