"""What each version's answers cost, what keeping one warm costs, and what a rollback would cost or save."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from app.actions.context import Means
from app.domain.catalog.declarations import Prices
from app.domain.catalog.models import ModelName, Version, VersionName
from app.domain.catalog.routing import FULL_BP
from app.domain.evidence.observed import COMPLETION_TOKENS, COST, MEGABYTES, PROMPT_TOKENS, SECONDS, Measure, Observed
from app.domain.evidence.tally import Tally
from app.domain.guardrails.cost import HOURS_PER_DAY, cost_per_answer, cost_per_day, keeping_warm, turning_back_per_day
from app.domain.rollout.rollout import TERMINAL, Phase
from app.store.evidence import tallies
from app.store.evidence.measures import measured
from app.store.pg.database import Transaction
from app.store.rollouts import rollouts, standbys
from app.store.routing import catalog, routes


@dataclass(frozen=True, slots=True)
class Bill:
    """What costs are made of.

    Attributes:
        since, until: Unix seconds.
        tallies: Version to counts. observed: Version to what was measured.
    """

    since: int
    until: int
    tallies: Mapping[VersionName, Tally]
    observed: Mapping[VersionName, Observed]

    def rate(self, version: VersionName) -> float:
        """Exchanges a second."""
        return self.tallies.get(version, Tally()).exchanges / max(self.until - self.since, 1)

    def mean(self, version: VersionName, name: str) -> float | None:
        """A measure's mean over the answers that were read."""
        measure = self._measure(version, name)
        return measure.total / measure.n if measure.n else None

    def count(self, version: VersionName, name: str) -> int:
        """Answers with this measure."""
        return self._measure(version, name).n

    def per_answer(self, version: VersionName) -> float | None:
        """Mean cost."""
        return cost_per_answer(self.observed.get(version, Observed()))

    def _measure(self, version: VersionName, name: str) -> Measure:
        return self.observed.get(version, Observed()).measures.get(name, Measure())


@dataclass(frozen=True, slots=True)
class VersionCost:
    """One version; a mean is None where nothing was measured, a cost where it has no prices.

    Attributes:
        measured: Answers whose cost is known.
        cap: No answer is counted as dearer.
        cost_per_day: At the observed traffic, keeping it running included.
        per_hour: Of keeping it running at all.
    """

    version: VersionName
    exchanges: int
    answers_per_s: float
    measured: int
    cost_per_answer: float | None
    cap: float | None
    cost_per_day: float | None
    per_hour: float | None
    seconds_per_answer: float | None
    megabytes_per_answer: float | None
    prompt_tokens_per_answer: float | None
    completion_tokens_per_answer: float | None


@dataclass(frozen=True, slots=True)
class KeptWarm:
    """A version that is kept running beside stable, and what that costs."""

    version: VersionName
    role: Literal["canary", "standby"]
    per_day: float


@dataclass(frozen=True, slots=True)
class RollbackCost:
    """What a rollback would do to the bill, at the observed traffic.

    Attributes:
        away, back: The version that would lose its traffic, and the one that would get it.
        answers_per_s: The traffic that would move.
        per_day: More a day; negative: saved. None where a cost is not known.
        saved_when_stopped: A day, once `away` is shut down.
    """

    away: VersionName
    back: VersionName
    answers_per_s: float
    per_day: float | None
    saved_when_stopped: float

    @property
    def sentence(self) -> str:
        away, back, saved = self.away, self.back, self.saved_when_stopped
        if not self.answers_per_s:
            moved = f"turning {away} back to {back} moves no traffic now"
        elif self.per_day is None:
            moved = f"what turning {away} back to {back} costs is not known: answers of both need prices and traffic"
        elif self.per_day < 0.0:
            moved = f"turning {away} back to {back} saves {-self.per_day:.3g} a day at the traffic seen"
        else:
            moved = f"turning {away} back to {back} costs {self.per_day:.3g} a day more at the traffic seen"
        return moved + (f", and {saved:.3g} a day are saved once {away} is shut down" if saved else "")


@dataclass(frozen=True, slots=True)
class ModelCost:
    """What a model's versions cost.

    Attributes:
        since: The window's start, or the first exchange in it.
        rollback: None where none would be accepted.
    """

    since: datetime
    until: datetime
    versions: tuple[VersionCost, ...]
    kept_warm: tuple[KeptWarm, ...]
    rollback: RollbackCost | None


async def model_cost(means: Means, model: ModelName, window_s: int) -> ModelCost:
    """Costs at the traffic of the last `window_s` seconds. Raises: UnknownModel."""
    async with means.database.transaction() as tx:
        versions = {version.name: version for version in await catalog.versions(tx, model)}
        at = (await routes.revision(tx)).at
        seen = await bill(tx, model, int(at.timestamp()), window_s)
        return ModelCost(
            datetime.fromtimestamp(seen.since, UTC),
            at,
            tuple(version_cost(version, seen) for version in versions.values()),
            await _kept_warm(tx, model, versions),
            await _rollback(tx, model, versions, seen),
        )


async def bill(tx: Transaction, model: ModelName, until: int, window_s: int) -> Bill:
    """What was counted and measured in the seconds [until - window_s, until)."""
    since = until - window_s
    found = await measured(tx, model, since, until)
    slots = await tallies.slots(tx, model, since, until)
    seen_from = since if found.seen_from is None else found.seen_from
    return Bill(seen_from, until, {slot.version: slot.tally for slot in slots}, found.by_version)


def version_cost(version: Version, seen: Bill) -> VersionCost:
    """One version's figures."""
    prices, name = version.credentials.prices, version.name
    per_answer, rate = seen.per_answer(name), seen.rate(name)
    known = prices is not None and (per_answer is not None or rate == 0.0)
    return VersionCost(
        version=name,
        exchanges=seen.tallies.get(name, Tally()).exchanges,
        answers_per_s=rate,
        measured=seen.count(name, COST),
        cost_per_answer=per_answer,
        cap=None if prices is None else prices.cap,
        cost_per_day=cost_per_day(per_answer or 0.0, rate, prices or Prices()) if known else None,
        per_hour=None if prices is None else prices.per_hour,
        seconds_per_answer=seen.mean(name, SECONDS),
        megabytes_per_answer=seen.mean(name, MEGABYTES),
        prompt_tokens_per_answer=seen.mean(name, PROMPT_TOKENS),
        completion_tokens_per_answer=seen.mean(name, COMPLETION_TOKENS),
    )


async def _kept_warm(
    tx: Transaction, model: ModelName, versions: Mapping[VersionName, Version]
) -> tuple[KeptWarm, ...]:
    kept: list[tuple[VersionName, Literal["canary", "standby"]]] = []
    rollout, watched = await rollouts.latest(tx, model), await standbys.latest(tx, model)
    if rollout is not None and rollout.phase not in TERMINAL:
        kept.append((rollout.canary, "canary"))
    if watched is not None and watched.ended_at is None:
        kept.append((watched.watch.standby, "standby"))
    return tuple(
        KeptWarm(name, role, keeping_warm(prices, HOURS_PER_DAY))
        for name, role in kept
        if (prices := versions[name].credentials.prices) is not None
    )


async def _rollback(
    tx: Transaction, model: ModelName, versions: Mapping[VersionName, Version], seen: Bill
) -> RollbackCost | None:
    """What ordering a rollback would do now; None where none would be accepted."""
    rollout, route = await rollouts.latest(tx, model), await routes.route(tx, model)
    if rollout is None or route is None:
        return None
    is_stable_now = rollout.phase is Phase.PROMOTED and route.stable == rollout.canary
    if rollout.phase in TERMINAL and not is_stable_now:
        return None
    away, back = rollout.canary, rollout.stable
    mine, theirs = seen.per_answer(away), seen.per_answer(back)
    # Of the whole window the canary had little; what would move is what it gets now.
    rate = sum(map(seen.rate, route.weights_bp)) * route.weights_bp.get(away, 0) / FULL_BP
    per_day = None if mine is None or theirs is None else turning_back_per_day(mine, theirs, rate)
    prices = versions[away].credentials.prices
    return RollbackCost(away, back, rate, per_day, 0.0 if prices is None else keeping_warm(prices, HOURS_PER_DAY))
