"""One look at a promoted version beside its standby: read, judge, save, in one transaction.

Rule: as a rollout's look, nothing waits for a model server while a transaction is open, see `probed`.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

from app.actions.context import Means, Probe
from app.actions.standby import record_watch
from app.controller.probed import judged_with_probes
from app.domain.evidence.cohort import GRACE_S
from app.domain.evidence.tally import Watermark
from app.domain.rollout.rollout import RolloutId
from app.domain.standby.label_monitor import read_labels
from app.domain.standby.monitor import ANSWERS, Watch, WatchStep, absorbed, judged
from app.store.evidence import cohorts, tallies
from app.store.pg.database import Transaction
from app.store.rollouts import standbys
from app.store.rollouts.decisions import Decision
from app.store.rollouts.standbys import Watched
from app.store.routing import replicas, routes

# A watch lasts for hours: it need not be written every second.
LOOK_EVERY_S = 5
# After an outage of the control plane it catches up by so much a look.
READ_AT_ONCE_S = 300


@dataclass(frozen=True, slots=True)
class WatchLook:
    """What one look at a watch left behind; `decision` is None while it goes on."""

    step: WatchStep
    decision: Decision | None


class Sentinel:
    """Looks at watches one by one."""

    def __init__(self, means: Means) -> None:
        self._means = means

    async def look(self, rollout_id: RolloutId) -> WatchLook | None:
        """Judge once; None when there is nothing new, another process is at it, or it has ended.

        Raises: StaleGeneration, TargetUnhealthy, DatabaseUnavailable, OutcomeUnknown.
        """
        return await judged_with_probes(self._means.probe, partial(self._judge, rollout_id), {})

    async def _judge(self, rollout_id: RolloutId, answered: Probe) -> WatchLook | None:
        async with self._means.database.transaction() as tx:
            watched = await standbys.claim(tx, rollout_id)
            if watched is None:
                return None
            step = await _looked(tx, watched)
            if step is None:
                return None
            decision = await record_watch(replace(self._means, probe=answered), tx, watched, step)
            return WatchLook(step, decision)


def is_due(read_through: int | None, until: datetime, at: datetime, mature: Watermark | None) -> bool:
    """Whether enough seconds became mature since the last look, or its time is over; nobody knows: it is."""
    if read_through is None or at >= until:
        return True
    return mature is not None and mature.status >= read_through + LOOK_EVERY_S


async def _looked(tx: Transaction, watched: Watched) -> WatchStep | None:
    """What the mature seconds say; None when they are too few to read, and the time is not over."""
    watch = watched.watch
    after = watch.suspicions[ANSWERS].read_through
    mature = await replicas.watermark(tx)
    if not is_due(after, watch.until, watched.at, mature):
        return None
    if mature is None or mature.status <= after:
        return judged(watch, watched.at)
    through = min(mature.status, after + READ_AT_ONCE_S)
    rows = await tallies.mature(tx, watch.model, (watch.standby, watch.stable), after, Watermark(through, through))
    own = await _own_generations(tx, watch, watched.began)
    read = absorbed(watch, (row for row in rows if row.key.generation in own), through)
    return judged(await _with_labels(tx, read, watched, own, mature.status), watched.at)


async def _with_labels(tx: Transaction, watch: Watch, watched: Watched, own: frozenset[int], status: int) -> Watch:
    """The watch with every label that became old enough; each metric has a horizon of its own."""
    for name, each in watch.metrics.items():
        metric, after = each.cohort.metric, each.cohort.read_through
        through = min(status, int(watched.at.timestamp() - metric.horizon_s - GRACE_S))
        if through > after:
            versions = (watch.standby, watch.stable)
            found = await cohorts.matured(tx, watch.model, metric, versions, after, through, watched.began)
            watch = read_labels(watch, name, found, own)
    return watch


async def _own_generations(tx: Transaction, watch: Watch, began: int) -> frozenset[int]:
    """Those drawn with the watch's weights; a change that leaves them alone makes one more."""
    made = await routes.generations(tx, watch.model, began)
    return frozenset(each.generation for each in made if each.weights_bp == made[0].weights_bp)
