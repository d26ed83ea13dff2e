"""The web kit of every FastAPI part: listeners, strict bodies, problems, request ids."""
