"""What is known about the model when a rollout begins: what is declared, and what was usual for stable."""

from app.domain.catalog.declarations import QualityMetric
from app.domain.catalog.models import Model, Version
from app.domain.evidence import absorb_cohort
from app.domain.evidence.cohort import GRACE_S, Cohort
from app.domain.evidence.model_evidence import ModelEvidence
from app.domain.evidence.observed import COST, Observed
from app.store.evidence import cohorts, observed
from app.store.pg.database import Transaction

# Of fewer answers nobody knows how many are usually flawed.
_LEAST_READ = 1_000
_LEAST_FLAWED, _MOST_FLAWED = 0.001, 0.99


async def model_evidence(
    tx: Transaction, model: Model, stable: Version, canary: Version, start: int, since_s: int
) -> ModelEvidence:
    """Empty evidence with its references, fixed for ever.

    Args:
        tx: Where to read.
        model, stable, canary: As registered.
        start: Unix second of the rollout's start.
        since_s: How many seconds before it say what is usual.
    """
    metrics = () if model.feedback is None else model.feedback.metrics
    before = await observed.history(tx, model.name, stable.name, start - since_s, start)
    bake_in = await observed.history_of_spreads(tx, model.name, stable.name, start - since_s, start)
    caps = [each.credentials.prices.cap for each in (stable, canary) if each.credentials.prices is not None]
    signature = canary.credentials.signature
    cost = before.measures.get(COST)
    return ModelEvidence(
        cohorts={each.name: await _cohort(tx, model, stable, each, start, since_s) for each in metrics},
        slice_keys=model.slices,
        usual=stable.credentials.reference.or_else(bake_in),
        spreads_through=start - 1,
        flaw_reference=_flaw_reference(before),
        cost_reference=cost.total / cost.n if cost is not None and cost.n else None,
        cost_cap=max(caps) if caps else None,
        learns_signature=signature is None or not signature.says_what,
    )


async def _cohort(
    tx: Transaction, model: Model, stable: Version, metric: QualityMetric, start: int, since_s: int
) -> Cohort:
    last = int(start - metric.horizon_s - GRACE_S)
    usual = await cohorts.usual(tx, model.name, metric, stable.name, last - since_s, last)
    return absorb_cohort.begun(metric, start, usual)


def _flaw_reference(before: Observed) -> float:
    if before.read < _LEAST_READ:
        return _LEAST_FLAWED
    return min(max(before.flawed / before.read, _LEAST_FLAWED), _MOST_FLAWED)
