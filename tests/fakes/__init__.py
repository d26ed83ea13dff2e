"""Small stand-ins for what the gateway talks to; each is held to what the real thing does."""
