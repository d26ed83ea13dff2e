"""What a look reads of answers beside their outcomes: flaws, measures and slices."""

from collections.abc import Mapping
from dataclasses import replace

from app.domain.evidence.absorb_observed import absorb_observed, observed_after
from app.domain.rollout.rollout import Rollout
from app.store.evidence import observed
from app.store.pg.database import Transaction


async def with_observed(
    tx: Transaction, rollout: Rollout, canary_weight_bp: Mapping[int, int], through: int
) -> Rollout:
    """The rollout with what was read of every answer whose second became mature since the last look.

    Args:
        tx: Where to read.
        rollout: As it is; its outcomes may have been read before or after, it makes no difference.
        canary_weight_bp: Generation to the canary's weight in it.
        through: The newest second whose exchanges have all ended on every live replica.
    """
    evidence = rollout.evidence
    after = observed_after(evidence)
    if through <= after:
        return rollout
    rows = await observed.mature(tx, rollout.model, (rollout.stable, rollout.canary), after, through)
    return replace(rollout, evidence=absorb_observed(evidence, rows, canary_weight_bp, through))
