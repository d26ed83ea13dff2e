"""Real flights, real model servers and the story of four rollouts, played through the gateway."""
