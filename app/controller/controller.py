"""The loop of a control process: looks at every active rollout each tick, and keeps partitions ahead.

Rule: one rollout's trouble never stops another's look, and whatever Postgres does the loop goes on.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from typing import Final

import structlog

from app import loops
from app.actions.breakers import audit_brakes
from app.actions.context import Means
from app.actions.recalls import tell_recall
from app.controller.look import Look, Looker
from app.controller.sentinel import Sentinel, is_due
from app.domain.catalog.models import ModelName, VersionName
from app.domain.guardrails.drift import all_differing
from app.domain.rollout.rollout import Phase, RolloutId
from app.domain.standby.monitor import ANSWERS, Watch
from app.errors import DatabaseUnavailable, OutcomeUnknown, StaleGeneration, TargetUnhealthy
from app.loops import Loop
from app.store.evidence import randomization_units
from app.store.pg import partitions
from app.store.pg.complaints import RowUnreadable, complaint
from app.store.pg.contact import Contact
from app.store.pg.database import TRANSACTION_MAX_S, Transaction
from app.store.rollouts import rollouts, standbys
from app.store.rollouts.decisions import Decision
from app.store.routing import catalog, replicas
from app.telemetry import DecisionCount

PARTITIONS_EVERY_S = 3_600.0
PARTITIONS_RETRY_S = 60.0
# One look: a few transactions, and probes of model servers between them.
LOOK_MAX_S: Final = 6 * TRANSACTION_MAX_S

log = structlog.get_logger()


@dataclass(slots=True)
class Standing:
    """What the last tick left for telemetry.

    Attributes:
        phases: Each model's last rollout's phase.
        evidence: (model, metric) to the natural log of the evidence, active rollouts only.
        drift: (model, canary, feature) to the PSI of the canary about stable, active rollouts only.
        watched: Promoted models with a standby to the natural log of the evidence of decay; -inf before a bad answer.
        ticks_ms: Duration in milliseconds, rounded up, to how many ticks took so long.
        completed_at: Unix time of the last tick that reached its end.
        unreadable: Rollouts and standbys whose state makes no sense, by model, each with the reason.
    """

    phases: dict[ModelName, Phase] = field(default_factory=dict)
    evidence: dict[tuple[ModelName, str], float] = field(default_factory=dict)
    drift: dict[tuple[ModelName, VersionName, str], float] = field(default_factory=dict)
    watched: dict[ModelName, float] = field(default_factory=dict)
    ticks_ms: Counter[int] = field(default_factory=Counter)
    ticks_total_s: float = 0.0
    completed_at: float | None = None
    unreadable: dict[ModelName, str] = field(default_factory=dict)


class Controller:
    """Any number may run anywhere: safety rests on the store's compare-and-set alone."""

    def __init__(
        self,
        means: Means,
        *,
        decided: DecisionCount,
        tick_interval_s: float,
        tally_keep_days: int,
        monotonic: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        self._means = means
        self._database = means.database
        self._decided = decided
        self._looker = Looker(means, means.probe)
        self._sentinel = Sentinel(means)
        self._interval_s = tick_interval_s
        self._keep_days = tally_keep_days
        self._monotonic = monotonic
        self._wall = wall
        self._active: dict[RolloutId, rollouts.ListedRollout] | None = None
        self._failing: set[RolloutId] = set()
        self._unreadable: dict[RolloutId, tuple[ModelName, str]] = {}
        # Watches that go on, and through which second the figures of them are.
        self._watches: dict[RolloutId, int | None] = {}
        self._partitions_due = float("-inf")
        self.standing = Standing()
        self.contact = Contact("tick", monotonic, lost="controller.database_lost", returned="controller.database_back")

    def loop(self) -> Loop:
        """What must go on for as long as the process lives."""
        return Loop("tick", self.run, self._interval_s + LOOK_MAX_S)

    async def run(self) -> None:
        """Tick until cancelled."""
        while True:
            loops.beat()
            started = self._monotonic()
            await self.tick()
            await asyncio.sleep(max(0.0, started + self._interval_s - self._monotonic()))

    async def tick(self) -> None:
        """Look at every active rollout once. Raises nothing."""
        started = self._monotonic()
        try:
            for rollout in await self._list_active():
                await self._safely(rollout.model, rollout.id, self._look(rollout))
            for watch in await self._list_watches():
                await self._safely(watch.model, watch.rollout_id, self._watch(watch))
            self._note_unreadable()
            await self._audit_brakes()
            await self._keep_partitions(started)
        except Exception as odd:  # noqa: BLE001 -- whatever it was, the next tick is tried
            self.contact.failed(odd)
        else:
            self.contact.works()
            self.standing.completed_at = self._wall()
            self._note_duration(self._monotonic() - started)

    async def _list_active(self) -> tuple[rollouts.ListedRollout, ...]:
        async with self._database.transaction() as tx:
            found = {each.id: each for each in await rollouts.listed(tx)}
            for name in await self._models_to_read_again(tx, found):
                await self._read_phase(tx, name)
        for rollout in found.values():
            if rollout.phase is not None:
                self.standing.phases[rollout.model] = rollout.phase
        running = {rollout.model for key, rollout in found.items() if key not in self._unreadable}
        self.standing.evidence = {key: log_e for key, log_e in self.standing.evidence.items() if key[0] in running}
        self.standing.drift = {key: psi for key, psi in self.standing.drift.items() if key[0] in running}
        self._active = found
        return tuple(found.values())

    async def _read_phase(self, tx: Transaction, name: ModelName) -> None:
        phase = await rollouts.latest_phase(tx, name)
        if phase is not None:
            self.standing.phases[name] = phase

    async def _models_to_read_again(self, tx: Transaction, found: Collection[RolloutId]) -> list[ModelName]:
        """Models whose rollout ended since the last tick; at the first tick all models."""
        if self._active is None:
            return list(await catalog.names(tx))
        return [rollout.model for key, rollout in self._active.items() if key not in found]

    async def _list_watches(self) -> tuple[standbys.ListedWatch, ...]:
        """Those that have something new to look at; of others the figures, where another process has looked."""
        async with self._database.transaction() as tx:
            found = await standbys.listed(tx)
            mature = await replicas.watermark(tx) if found else None
            for name in self.standing.watched.keys() - {each.model for each in found}:
                # A promotion that was taken back, by whomever, is no active rollout.
                await self._read_phase(tx, name)
                del self.standing.watched[name]
            due = tuple(each for each in found if is_due(each.read_through, each.until, each.at, mature))
            for each in found:
                if each not in due and self._watches.get(each.rollout_id) != each.read_through:
                    await self._safely(each.model, each.rollout_id, self._read_watch(tx, each))
        self._watches = {each.rollout_id: self._watches.get(each.rollout_id) for each in found}
        return due

    async def _read_watch(self, tx: Transaction, listed: standbys.ListedWatch) -> None:
        watched = await standbys.going_on(tx, listed.rollout_id)
        if watched is not None:
            self._unreadable.pop(listed.rollout_id, None)
            self._note_watch(watched.watch)

    def _note_watch(self, watch: Watch) -> None:
        self._watches[watch.rollout_id] = watch.suspicions[ANSWERS].read_through
        self.standing.watched[watch.model] = watch.log_m

    async def _safely(self, model: ModelName, rollout_id: RolloutId, looking: Awaitable[None]) -> None:
        loops.beat()
        try:
            await looking
        except StaleGeneration:
            log.info("rollout.look_dropped", model=model, rollout=rollout_id)
        except TargetUnhealthy as unhealthy:
            self._note_failing(model, rollout_id, "rollout.target_unhealthy", unhealthy.detail)
        except RowUnreadable as odd:
            self._unreadable[rollout_id] = (model, odd.why)
        except (DatabaseUnavailable, OutcomeUnknown):
            raise
        except Exception as broken:  # noqa: BLE001 -- one rollout's bug must not stop the others
            self._note_failing(model, rollout_id, "rollout.look_failed", type(broken).__name__, trace=broken)
        else:
            self._failing.discard(rollout_id)

    async def _look(self, rollout: rollouts.ListedRollout) -> None:
        look = await self._looker.look(rollout)
        if look is not None:
            self._unreadable.pop(rollout.id, None)
            await self._note_look(look)

    async def _watch(self, watch: standbys.ListedWatch) -> None:
        look = await self._sentinel.look(watch.rollout_id)
        if look is None:
            return
        self._unreadable.pop(watch.rollout_id, None)
        self._note_watch(look.step.watch)
        if look.step.found is not None:
            log.warning("watch.finding", model=watch.model, found=look.step.found, sentence=look.step.sentence)
        if look.decision is not None:
            await self._note_decision(look.decision, watch.stable)

    async def _note_look(self, look: Look) -> None:
        model = look.rollout.model
        self.standing.phases[model] = look.rollout.phase
        self.standing.evidence[model, "combined"] = look.assessment.log_e
        for finding in look.assessment.findings:
            if finding.log_e_worse is not None:
                self.standing.evidence[model, finding.metric] = finding.log_e_worse
        for each in all_differing(look.rollout.evidence):
            if each.stability is not None:
                self.standing.drift[model, look.rollout.canary, each.name] = each.stability
        if look.decision is None:
            return
        await self._note_decision(look.decision, look.rollout.canary)

    async def _note_decision(self, decision: Decision, canary: VersionName) -> None:
        self._decided.add(decision.model, decision.action, by_engine=True)
        log.info(
            "decision.made",
            model=decision.model,
            canary=canary,
            decision=decision.id,
            action=decision.action,
            trigger=decision.trigger,
            sentence=decision.sentence,
            generation=decision.generation_after,
        )
        await tell_recall(self._means, decision)

    async def _audit_brakes(self) -> None:
        for turn in await audit_brakes(self._means):
            event = "replica.brake_opened" if turn.opened else "replica.brake_released"
            log.warning(event, boot=turn.boot, model=turn.model, version=turn.version)

    def _note_failing(
        self, model: ModelName, rollout_id: RolloutId, event: str, why: str, *, trace: Exception | None = None
    ) -> None:
        # Once per spell: a dead target is asked again every tick.
        if rollout_id not in self._failing:
            self._failing.add(rollout_id)
            log.error(event, model=model, rollout=rollout_id, why=why, exc_info=trace)

    def _note_unreadable(self) -> None:
        """What could not be read at the last try, of all that still goes on."""
        going_on = {*(self._active or {}), *self._watches}
        self._unreadable = {key: found for key, found in self._unreadable.items() if key in going_on}
        unreadable = dict(self._unreadable.values())
        for name in unreadable.keys() - self.standing.unreadable.keys():
            log.error("rollout.unreadable", model=name, why=unreadable[name])
        self.standing.unreadable = unreadable

    def _note_duration(self, took_s: float) -> None:
        self.standing.ticks_ms[int(took_s * 1_000) + 1] += 1
        self.standing.ticks_total_s += took_s

    async def _keep_partitions(self, now: float) -> None:
        """Make the days ahead, drop the old ones; a lock it does not get must not stop the judging of rollouts."""
        if now < self._partitions_due:
            return
        self._partitions_due = now + PARTITIONS_RETRY_S
        try:
            async with self._database.transaction() as tx:
                if not await partitions.claim(tx):
                    return
                created = await partitions.ensure_partitions(tx)
                dropped = await partitions.drop_partitions(tx, self._keep_days)
                await replicas.forget(tx, self._keep_days)
                forgotten = await randomization_units.forget(tx, self._keep_days)
        except Exception as odd:  # noqa: BLE001 -- a right that is missing here must not make every tick a failed one
            log.warning("partitions.upkeep_failed", why=complaint(odd), retry_s=PARTITIONS_RETRY_S)
            return
        # What one statement may not delete at once goes on with the next tick.
        self._partitions_due = now + (PARTITIONS_EVERY_S if forgotten < randomization_units.FORGOTTEN_AT_ONCE else 0.0)
        if created or dropped:
            log.info("partitions.kept", created=list(created), dropped=list(dropped))
