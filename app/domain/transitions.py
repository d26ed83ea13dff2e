"""The rollout state machine.

Rule: everything that can change a rollout's phase or weight is in this file and `ACCEPTS` is
the whole map.
"""

from datetime import datetime

from app.domain.rollout import Event, Rollout, Transition


def advance(rollout: Rollout, event: Event, now: datetime) -> Transition:
    """What the event makes of the rollout. Raises: IllegalTransition, and nothing has changed."""
    raise NotImplementedError
