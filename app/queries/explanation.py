"""Reads what an explanation needs: a rollout's evidence and history, what was not counted, a mirror's pairs."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from app.actions.context import Means
from app.actions.decision_writer import RouteAction
from app.domain.catalog.models import ModelName, VersionName
from app.domain.catalog.policy import Policy
from app.domain.catalog.routing import Mirror, Route
from app.domain.evidence.tally import Counter, Horizon, Tally
from app.domain.guardrails.assess import assess
from app.domain.guardrails.policy import DEFAULT_POLICY
from app.domain.reports.explanation import Explanation, PairedFinding, explain, explain_pairs
from app.domain.rollout.rollout import TERMINAL, Rollout, RolloutId
from app.store.evidence import tallies
from app.store.pg.database import Transaction
from app.store.rollouts import decisions, rollouts
from app.store.rollouts.decisions import Decision
from app.store.routing import catalog, routes

# What is not evidence is shown of the last hour: it is a look at the present, not a sum to decide by.
NOT_COUNTED_S = 3_600
ROWS_MAX = 20_000
# A day of one busy process; of more, the newest are read.
MIRROR_ROWS_MAX = 100_000
HISTORY_MAX = 200


@dataclass(frozen=True, slots=True)
class ExplainedRollout:
    """A rollout explained.

    Attributes:
        behind_s: Seconds between the last second that was read and now; None when it has ended.
        not_counted: By version, of the last hour: exchanges that are no evidence are among these. Empty when
            it has ended.
        history: Its newest decisions, the oldest first.
    """

    rollout: Rollout
    explanation: Explanation
    behind_s: float | None
    not_counted: Mapping[VersionName, Tally]
    history: tuple[Decision, ...]


@dataclass(frozen=True, slots=True)
class ExplainedMirror:
    """A mirror explained, over its life as far as its counters are kept."""

    mirror: Mirror
    since: datetime
    counters: Mapping[Counter, int]
    paired: PairedFinding


@dataclass(frozen=True, slots=True)
class ExplainedModel:
    """A model's running or last rollout, its mirror and its last decision; None where there is none."""

    rollout: ExplainedRollout | None
    mirror: ExplainedMirror | None
    decision: Decision | None


async def rollout_explanation(means: Means, rollout_id: RolloutId) -> ExplainedRollout:
    """Why a rollout is where it is. Raises: UnknownRollout."""
    async with means.database.transaction() as tx:
        seen = await rollouts.rollout(tx, rollout_id)
        return await explained_rollout(tx, seen.rollout, seen.at)


async def model_explanation(means: Means, model: ModelName) -> ExplainedModel:
    """Why a model stands where it stands. Raises: UnknownModel."""
    async with means.database.transaction() as tx:
        await catalog.model(tx, model)
        rollout = await rollouts.latest(tx, model)
        route = await routes.route(tx, model)
        made = await decisions.made(tx, model=model, limit=1)
        now = (await routes.revision(tx)).at
        policy = DEFAULT_POLICY if rollout is None else rollout.policy
        return ExplainedModel(
            None if rollout is None else await explained_rollout(tx, rollout, now),
            None if route is None else await explained_mirror(tx, route, policy),
            made[0] if made else None,
        )


async def explained_rollout(tx: Transaction, rollout: Rollout, now: datetime) -> ExplainedRollout:
    """All there is to say about one rollout."""
    seen = assess(rollout.evidence, rollout.policy)
    history = await decisions.of_rollout(tx, rollout.id, rollout.model, limit=HISTORY_MAX)
    ended = rollout.phase in TERMINAL
    return ExplainedRollout(
        rollout,
        explain(rollout.evidence, rollout.policy, seen),
        None if ended else max(0.0, now.timestamp() - rollout.evidence.read_through[Horizon.STATUS] - 1.0),
        {} if ended else await _of_last_hour(tx, rollout, int(now.timestamp()) + 1),
        tuple(reversed(history)),
    )


async def _of_last_hour(tx: Transaction, rollout: Rollout, until: int) -> Mapping[VersionName, Tally]:
    since = max(rollout.evidence.started_s, until - NOT_COUNTED_S)
    return {
        version: await tallies.history(tx, rollout.model, version, since, until, rows_max=ROWS_MAX)
        for version in (rollout.stable, rollout.canary)
    }


async def explained_mirror(tx: Transaction, route: Route, policy: Policy) -> ExplainedMirror | None:
    """What the model's mirror showed since it was last set, against the lines of `policy`; None without one."""
    mirror = route.mirror
    made = None if mirror is None else await decisions.newest(tx, route.model, RouteAction.SET_MIRROR)
    if mirror is None or made is None:
        return None
    since = int(made.at.timestamp())
    counters = await tallies.counters(tx, route.model, mirror.version, since, rows_max=MIRROR_ROWS_MAX)
    paired = explain_pairs(
        mirror.version,
        route.stable,
        counters.get(Counter.MIRROR_PAIRS, 0),
        counters.get(Counter.MIRROR_ONLY_PRIMARY_OK, 0),
        counters.get(Counter.MIRROR_ONLY_MIRROR_OK, 0),
        policy,
    )
    return ExplainedMirror(mirror, made.at, counters, paired)
