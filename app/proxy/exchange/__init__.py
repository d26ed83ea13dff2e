"""One request and its response: its attempts, and its copy for a mirror."""
