"""From a request to a model and a version."""
