"""Judges a model's stored rollouts again under another policy.

Rule: says what it cannot know; it reads as little as it must, and never in the loop that serves.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from statistics import median

from app.actions.context import ENGINE, Means
from app.actions.rollouts import REFERENCE, reference_of
from app.domain.catalog.models import ModelName
from app.domain.catalog.policy import Policy
from app.domain.evidence.tally import Horizon, TallyRow
from app.domain.guardrails.assess import assess
from app.domain.guardrails.finding import Cause
from app.domain.rollout.rollout import Action, Phase, Rollout, begin
from app.domain.rollout.simulation import Ending, Fate, Glimpse, Retrial, compared, retry
from app.queries.past_tallies import Past, past_of, rows_between
from app.store.pg import partitions
from app.store.rollouts import decisions, rollouts
from app.store.rollouts.decisions import Decision
from app.store.routing import routes

ROLLOUTS_MAX = 50
# All looks of one simulation; a long rollout is looked at less often instead of for minutes.
LOOKS_MAX = 10_000
LEAST_LOOKS = 400
CHUNK_S = 3_600
NOT_KEPT = "The tallies of its first seconds are no longer kept."
WEIGHTS_WERE = (
    "The weights were what they were: at {elsewhere} of {looks} looks {canary} had another weight than this policy "
    "would have given it. With its own weights it would have seen other answers, and decided sooner or later."
)
NO_MORE_DATA = (
    "After {at:%Y-%m-%dT%H:%M:%SZ} there is no data: then {canary} was {phase}. How it would have gone on is not known."
)
COARSE = "Looked every {step} s instead of every second: what is said to happen may come so much late."
ORDERS_LEFT_OUT = "Orders by people, and the brake, are left out: they held or moved {canary} whatever the policy said."
SHORT_REFERENCE = "The hour before its start is not kept whole: what was usual for {stable} is read from less."


@dataclass(frozen=True, slots=True)
class Retold:
    """One past rollout: what happened, and what would have.

    Attributes:
        last: The decision that left it where it is; None when nothing was decided.
        was: How it ended, or where it is now, by its own policy.
        retrial: None when it cannot be judged again; then `unknown` says why.
        unknown: What cannot be known, a sentence each.
    """

    rollout: Rollout
    last: Decision | None
    was: Ending
    retrial: Retrial | None
    unknown: tuple[str, ...]

    @property
    def sentence(self) -> str:
        if self.retrial is None:
            return f"The rollout of {self.rollout.canary} cannot be judged again."
        return compared(self.rollout.canary, self.retrial.ending, self.was)


@dataclass(frozen=True, slots=True)
class Simulation:
    """A model's rollouts of some time under another policy, the newest first."""

    since: datetime
    until: datetime
    retold: tuple[Retold, ...]


async def simulate(
    means: Means, model: ModelName, policy: Policy, history: timedelta, *, limit: int = ROLLOUTS_MAX
) -> Simulation:
    """Judge again, under `policy`, the rollouts started within `history`. Raises: UnknownModel."""
    async with means.database.transaction() as tx:
        until = (await routes.revision(tx)).at
        since = until - history
        found = await rollouts.of_model(tx, model, limit=limit)
    past = [rollout for rollout in found if rollout.started_at >= since]
    looks_max = max(LEAST_LOOKS, LOOKS_MAX // max(1, len(past)))
    return Simulation(since, until, tuple([await _retold(means, rollout, policy, looks_max) for rollout in past]))


async def _retold(means: Means, stored: Rollout, policy: Policy, looks_max: int) -> Retold:
    start = stored.evidence.started_s
    async with means.database.transaction() as tx:
        past = await past_of(tx, stored)
        made = await decisions.of_rollout(tx, stored.id, stored.model)
        oldest = await partitions.oldest_second(tx)
        reference = await reference_of(tx, stored.model, stored.stable, start)
    last = made[0] if made else None
    was = Ending.of(stored.phase, stored.phase_since, assess(stored.evidence, stored.policy))
    if start < oldest:
        return Retold(stored, last, was, None, (NOT_KEPT,))
    begun = begin(
        stored.id,
        stored.model,
        stored.stable,
        stored.canary,
        policy,
        reference,
        stored.started_at,
        per_caller=stored.evidence.per_caller,
    )
    step = max(1, -(-(past.last_s - start + 1) // looks_max))
    glimpses = [glimpse async for glimpse in _glimpses(means, past, step)]
    # A retrial is many looks; the loop has others to serve.
    retrial = await asyncio.to_thread(retry, begun, glimpses, past.weights_bp, _behind_s(made))
    unknown = _unknown(stored, retrial, made, step)
    if start - REFERENCE.total_seconds() < oldest:
        unknown = (*unknown, SHORT_REFERENCE.format(stable=stored.stable))
    return Retold(stored, last, was, retrial, unknown)


async def _glimpses(means: Means, past: Past, step: int) -> AsyncIterator[Glimpse]:
    """One for each step of the rollout's life, those without rows too."""
    span = step * max(1, CHUNK_S // step)
    for after in range(past.rollout.evidence.started_s - 1, past.last_s, span):
        through = min(after + span, past.last_s)
        async with means.database.transaction() as tx:
            read = await rows_between(tx, past, after, through, step)
        rows, exposed = _by_second(read.rows), _by_second(read.exposed)
        for begins in range(after, through, step):
            second = min(begins + step, through)
            yield Glimpse(second, rows.get(second, ()), exposed.get(second, ()))


def _by_second(rows: Iterable[TallyRow]) -> Mapping[int, Sequence[TallyRow]]:
    found: defaultdict[int, list[TallyRow]] = defaultdict(list)
    for row in rows:
        found[row.key.second].append(row)
    return found


def _behind_s(made: Iterable[Decision]) -> float:
    """How far behind the clock the engine read, as its own decisions say; a second when none does."""
    lags = [decision.at.timestamp() - read - 1.0 for decision in made if (read := _read_through(decision)) is not None]
    return max(0.0, median(lags)) if lags else 1.0


def _read_through(decision: Decision) -> int | None:
    """The last second whose outcomes a decision of the engine had read, None when it does not say."""
    numbers = decision.evidence.get("numbers")
    read = numbers.get("read_through") if decision.actor == ENGINE and isinstance(numbers, Mapping) else None
    through = read.get(Horizon.STATUS) if isinstance(read, Mapping) else None
    return through if isinstance(through, int) else None


def _unknown(stored: Rollout, retrial: Retrial, made: Sequence[Decision], step: int) -> tuple[str, ...]:
    said = []
    if retrial.elsewhere:
        said.append(WEIGHTS_WERE.format(elsewhere=retrial.elsewhere, looks=retrial.looks, canary=stored.canary))
    if retrial.ending.fate in {Fate.UNDECIDED, Fate.HELD}:
        at = datetime.fromtimestamp(stored.evidence.read_through[Horizon.STATUS] + 1, UTC)
        said.append(NO_MORE_DATA.format(at=at, canary=stored.canary, phase=_past_tense(stored.phase)))
    if step > 1:
        said.append(COARSE.format(step=step))
    if any(map(_is_by_other_means, made)):
        said.append(ORDERS_LEFT_OUT.format(canary=stored.canary))
    return tuple(said)


def _is_by_other_means(decision: Decision) -> bool:
    """Whether neither the evidence nor the start made it."""
    return decision.trigger == Cause.BRAKE or (decision.actor != ENGINE and decision.action != Action.START)


def _past_tense(phase: Phase) -> str:
    return {Phase.PROMOTED: "promoted", Phase.ROLLED_BACK: "turned back", Phase.ABORTED: "aborted"}.get(
        phase, f"still {phase}"
    )
