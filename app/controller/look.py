"""One look at one rollout: collect, assess, advance, save, in one transaction.

Rule: nothing waits for a model server while a transaction is open, see `probed`.
"""

from dataclasses import dataclass, replace
from functools import partial

from app.actions.context import Means, Probe
from app.actions.rollouts import record_assessment
from app.controller.maturing import with_cohorts
from app.controller.observing import with_observed
from app.controller.probed import Answers, judged_with_probes
from app.controller.spreading import with_spreads
from app.domain.evidence.evidence import absorb
from app.domain.evidence.tally import Watermark
from app.domain.guardrails.finding import Assessment
from app.domain.rollout.evaluation import Sight, judge
from app.domain.rollout.rollout import Phase, Rollout, RolloutId
from app.store.evidence import randomization_units, tallies
from app.store.pg.database import Transaction
from app.store.rollouts import rollouts
from app.store.rollouts.decisions import Decision
from app.store.rollouts.rollouts import ListedRollout, Seen
from app.store.routing import catalog, replicas, routes


@dataclass(frozen=True, slots=True)
class Look:
    """What one look left behind; `decision` is None when nothing was decided."""

    rollout: Rollout
    assessment: Assessment
    decision: Decision | None


class Looker:
    """Judges rollouts one by one."""

    def __init__(self, means: Means, probe: Probe) -> None:
        self._means = means
        self._probe = probe

    async def look(self, before: ListedRollout) -> Look | None:
        """Judge once; None when another process is at it or it has ended meanwhile.

        Args:
            before: As it was listed; only decides which probe to make first.

        Raises: StaleGeneration, TargetUnhealthy, RowUnreadable, DatabaseUnavailable, OutcomeUnknown.
        """
        answers: Answers = {}
        if before.phase is Phase.WARMING:
            async with self._means.database.transaction() as tx:
                protocol = (await catalog.model(tx, before.model)).protocol
                canary = await catalog.version(tx, before.model, before.canary)
            answers[canary.name] = await self._probe(protocol, canary)
        return await judged_with_probes(self._probe, partial(self._judge, before.id, answers), answers)

    async def _judge(self, rollout_id: RolloutId, answers: Answers, answered: Probe) -> Look | None:
        async with self._means.database.transaction() as tx:
            seen = await rollouts.claim(tx, rollout_id)
            if seen is None:
                return None
            rollout = await with_new_evidence(tx, seen)
            braked = (rollout.model, rollout.canary) in await replicas.open_brakes(tx)
            ready = answers[rollout.canary] is None if rollout.canary in answers else None
            sight = Sight(rollout, braked, ready)
            judged = judge(sight, seen.at)
            decision = await record_assessment(replace(self._means, probe=answered), tx, seen, sight, judged.transition)
            return Look(judged.transition.rollout, judged.assessment, decision)


async def with_new_evidence(tx: Transaction, seen: Seen) -> Rollout:
    """The rollout with every second that became mature since the last look."""
    rollout = seen.rollout
    mature = await replicas.watermark(tx)
    if mature is None:
        return rollout
    arms = (rollout.stable, rollout.canary)
    after = min(rollout.evidence.read_through.values())
    rows = await tallies.mature(tx, rollout.model, arms, after, mature)
    weights = await routes.canary_weights(tx, rollout.model, rollout.canary, seen.started_generation)
    rollout = await with_observed(tx, rollout, weights, mature.status)
    rollout = await with_spreads(tx, rollout, weights, mature.status)
    rollout = await with_cohorts(tx, seen, rollout, weights, mature.status)
    if seen.units_since is None:
        return replace(rollout, evidence=absorb(rollout.evidence, rows, weights, mature))
    # A unit is written when its exchange has ended: its latency is known no sooner than its outcome.
    ended = Watermark(mature.status, mature.status)
    firsts = await randomization_units.mature(tx, rollout.model, seen.units_since, arms, after, mature.status)
    return replace(rollout, evidence=absorb(rollout.evidence, firsts, weights, ended, exposed=rows))
