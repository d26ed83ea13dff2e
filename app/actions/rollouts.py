"""Rollouts: started and ordered by people, moved by the engine."""

from app.actions.means import Means
from app.domain.catalog import ModelName, VersionName
from app.domain.policy import Policy
from app.domain.rollout import Event, Rollout, RolloutId, Transition
from app.store.database import Transaction
from app.store.decisions import Decision
from app.store.rollouts import Seen


async def start_rollout(
    means: Means, model: ModelName, canary: VersionName, policy: Policy, *, actor: str, reason: str
) -> tuple[Rollout, Decision]:
    """Begin a rollout of `canary` against the model's stable.

    Raises: UnknownModel, UnknownVersion, RolloutActive, InvalidInput (sticky model, canary is stable,
        blank reason), StaleGeneration.
    """
    raise NotImplementedError


async def order(
    means: Means, rollout_id: RolloutId, event: Event, *, actor: str, reason: str, force: bool = False
) -> Decision:
    """Let a person's event happen: Paused, Resumed, PromotionOrdered, RollbackOrdered or Aborted.

    Args:
        force: Shift traffic even to a version that does not answer its probe.

    Raises: UnknownRollout, IllegalTransition, InvalidInput, TargetUnhealthy, StaleGeneration (never for
        a rollback: it reads again and goes on).
    """
    raise NotImplementedError


async def record_assessment(means: Means, tx: Transaction, seen: Seen, transition: Transition) -> Decision | None:
    """Save what the engine made of a rollout, in the tick's own transaction; None if nothing was decided.

    Raises: StaleGeneration (a person was quicker: drop the tick), TargetUnhealthy (traffic would go to a
        version that does not answer: nothing is saved, the next tick tries again).
    """
    raise NotImplementedError
