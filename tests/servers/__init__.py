"""Real model servers and official clients, each in an environment of its own, through the gateway."""
