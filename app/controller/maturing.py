"""What a look reads of labels: the cohorts that became old enough."""

from collections.abc import Mapping
from dataclasses import replace

from app.domain.evidence.absorb_cohort import absorb_cohort
from app.domain.evidence.cohort import GRACE_S, Cohort
from app.domain.rollout.rollout import Rollout
from app.store.evidence import cohorts
from app.store.pg.database import Transaction
from app.store.rollouts.rollouts import Seen


async def with_cohorts(
    tx: Transaction, seen: Seen, rollout: Rollout, canary_weight_bp: Mapping[int, int], through: int
) -> Rollout:
    """The rollout with every label that matured since the last look.

    Args:
        tx: Where to read.
        seen: The rollout as it is stored.
        rollout: The same, with what was read already at this look.
        canary_weight_bp: Generation to the canary's weight in it.
        through: The newest second whose exchanges have all ended on every live replica.
    """
    evidence = rollout.evidence
    if evidence.per_caller or not evidence.of_model.cohorts:
        return rollout
    now_s = int(seen.at.timestamp())
    read: dict[str, Cohort] = {}
    for name, cohort in evidence.of_model.cohorts.items():
        last = min(through, int(now_s - cohort.metric.horizon_s - GRACE_S))
        read[name] = cohort
        if last > cohort.read_through:
            arms = (rollout.stable, rollout.canary)
            found = await cohorts.matured(
                tx, rollout.model, cohort.metric, arms, cohort.read_through, last, seen.started_generation
            )
            read[name] = absorb_cohort(cohort, found, canary_weight_bp, rollout.canary, evidence.of_model.slice_keys)
    return replace(rollout, evidence=replace(evidence, of_model=replace(evidence.of_model, cohorts=read)))
