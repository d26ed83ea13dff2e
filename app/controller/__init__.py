"""What acts on its own: the tick that judges every active rollout, and the upkeep behind it."""
