"""The ledger of distributions: both arms' inputs and predictions by canary weight, ten seconds at a time.

Rule: as in `ledger`: a row is read once, in any order; where callers keep their arm nothing is read.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from app.domain.evidence.evidence import Evidence
from app.domain.evidence.model_evidence import SpreadEpoch
from app.domain.evidence.observed import SPREAD_S, SpreadRow


def spreads_after(evidence: Evidence) -> int:
    """The last second whose distributions were absorbed, or that before the start.

    Rows begin at multiples of SPREAD_S; one that began before the start also holds draws of the start's
    first seconds, and its generation says to which weights they belong.
    """
    return max(evidence.of_model.spreads_through, evidence.started_s - SPREAD_S)


def absorb_spreads(
    evidence: Evidence, rows: Iterable[SpreadRow], canary_weight_bp: Mapping[int, int], through: int
) -> Evidence:
    """Add the rows that begin after `spreads_after(evidence)` and are over at `through`.

    Args:
        evidence: What was read so far.
        rows: Of both arms; others, and rows outside that span, are ignored.
        canary_weight_bp: Generation to the canary's weight in it; rows of other generations are ignored.
        through: The newest second whose exchanges have all ended on every live replica.
    """
    after = spreads_after(evidence)
    last = (through + 1) // SPREAD_S * SPREAD_S - SPREAD_S
    if last <= after:
        return evidence
    by_weight = dict(evidence.of_model.spreads)
    for row in rows if not evidence.per_caller else ():
        key = row.key
        is_new = after < key.second <= last and key.generation in canary_weight_bp
        if is_new and key.version in {evidence.stable, evidence.canary}:
            weight_bp = canary_weight_bp[key.generation]
            epoch = by_weight.get(weight_bp, SpreadEpoch())
            by_weight[weight_bp] = (
                SpreadEpoch(epoch.canary + row.spread, epoch.stable)
                if key.version == evidence.canary
                else SpreadEpoch(epoch.canary, epoch.stable + row.spread)
            )
    of_model = replace(evidence.of_model, spreads=by_weight, spreads_through=last)
    return replace(evidence, of_model=of_model)
