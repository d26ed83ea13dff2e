"""What a look reads of distributions: inputs and predictions of both arms."""

from collections.abc import Mapping
from dataclasses import replace

from app.domain.evidence.absorb_observed import absorb_spreads, spreads_after
from app.domain.rollout.rollout import Rollout
from app.store.evidence import observed
from app.store.pg.database import Transaction


async def with_spreads(tx: Transaction, rollout: Rollout, canary_weight_bp: Mapping[int, int], through: int) -> Rollout:
    """The rollout with every ten seconds' distributions that became mature since the last look.

    Args:
        tx: Where to read.
        rollout: As it is.
        canary_weight_bp: Generation to the canary's weight in it.
        through: The newest second whose exchanges have all ended on every live replica.
    """
    evidence = rollout.evidence
    after = spreads_after(evidence)
    if evidence.per_caller or through <= after:
        return rollout
    rows = await observed.mature_spreads(tx, rollout.model, (rollout.stable, rollout.canary), after, through)
    return replace(rollout, evidence=absorb_spreads(evidence, rows, canary_weight_bp, through))
