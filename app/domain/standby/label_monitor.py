"""What matured labels say of a promoted version and its standby: silent decay, of which no status code tells.

Rule: labels are counted as in a rollout, in a cohort in which stable has the canary's place; a detector hears what the
cohort gained since the look before. Of a loss between 0 and 1 only so much of an answer is bad, which makes the factors
of `eprocess.log_e_tilt` smaller on average and never greater: log(1 - w + w x^a) <= a log(1 - w + w x) (ADR 0117).
"""

from collections.abc import Iterable
from dataclasses import replace

from app.domain.evidence.absorb_cohort import Matured, absorb_cohort
from app.domain.evidence.cohort import Cohort, CohortArm, CohortEpoch
from app.domain.standby.monitor import Pair, Seen, Watch, with_pair


def read_labels(watch: Watch, name: str, matured: Matured, own: Iterable[int]) -> Watch:
    """The watch with the labels of one metric that became old enough.

    Args:
        watch: As it was.
        name: Of the metric, one of `watch.metrics`.
        matured: Of the seconds after `watch.suspicions[name].read_through`.
        own: The generations that were drawn with the watch's weights; others are ignored.
    """
    suspicion, watched = watch.suspicions[name], watch.metrics[name]
    if matured.through <= suspicion.read_through:
        return watch
    before = watched.cohort
    after = absorb_cohort(before, matured, dict.fromkeys(own, watch.weight_bp), watch.stable)
    # A source that has said nothing yet changes nothing by not having said it.
    silent = replace(suspicion, without={})
    read = replace(
        with_pair(watch, suspicion, _gained(watch, before, after, None)),
        read_through=after.read_through,
        without={
            source: with_pair(watch, suspicion.without.get(source, silent), _gained(watch, before, after, source))
            for source in after.sources
        },
    )
    return replace(
        watch,
        suspicions={**watch.suspicions, name: read},
        metrics={**watch.metrics, name: replace(watched, cohort=after)},
    )


def _gained(watch: Watch, before: Cohort, after: Cohort, left_out: str | None) -> Pair:
    """What was labelled since, as if one source had said nothing."""
    then = before.by_weight.get(watch.weight_bp, CohortEpoch())
    now = after.by_weight.get(watch.weight_bp, CohortEpoch())
    stable, standby = _more(then.canary, now.canary, left_out), _more(then.stable, now.stable, left_out)
    return Pair(after.read_through, stable, standby)


def _more(then: CohortArm, now: CohortArm, left_out: str | None) -> Seen:
    before, after = then.total(left_out), now.total(left_out)
    # Differences of sums of fractions may be a rounding below nothing.
    return Seen(round(after.n - before.n), max(0.0, after.a - before.a))
