"""The sentinel: reads both versions' mature seconds after a promotion, and turns back only what the standby beats."""

import asyncio
import secrets
import time
from dataclasses import replace

import pytest
from fakes.probe import ProbeBook
from sqlalchemy import text
from structlog.testing import capture_logs

from app.actions.context import Means
from app.actions.models import register_model, register_version
from app.actions.rollouts import order, start_rollout
from app.actions.routes import RouteChange, change_route
from app.controller.controller import Controller
from app.controller.figures import StandingFigures
from app.controller.sentinel import LOOK_EVERY_S, READ_AT_ONCE_S
from app.domain.catalog.declarations import Feedback, QualityKind, QualityMetric
from app.domain.catalog.models import Model, ModelName, Version, VersionName
from app.domain.catalog.policy import OnRegression, Policy
from app.domain.catalog.routing import Mirror
from app.domain.evidence.cohort import GRACE_S
from app.domain.evidence.tally import Outcome, Tally, TallyKey, TallyRow, Watermark
from app.domain.guardrails.policy import DEFAULT_POLICY, guardrail
from app.domain.rollout.rollout import Phase, PromotionOrdered, RollbackOrdered
from app.domain.standby.monitor import ANSWERS, EndedBy, Seen
from app.queries.replay import Replayed, ReplayOutcome, replay
from app.store.evidence import tallies
from app.store.pg.database import Database
from app.store.rollouts import decisions, standbys
from app.store.rollouts.standbys import Watched
from app.store.routing import replicas, routes
from app.telemetry import DecisionCount

FRAUD, V1, V2 = ModelName("fraud"), VersionName("v1"), VersionName("v2")
BOOT = "0" * 32
THUMBS = QualityMetric("thumbs", QualityKind.EVENT, horizon_s=1.0)

_LABELS = text(
    """
    INSERT INTO labels
        (exchange, metric, source, revision, second, model, version, generation, label, slices, received_at)
    SELECT gen_random_uuid(), 'thumbs', 'ops', 1, second, 'fraud', :version, :generation,
           CAST(CAST(:label AS text) AS jsonb), '{}', to_timestamp(second)
    FROM generate_series(CAST(:first AS bigint), :last) AS second, generate_series(1, :count)
    """
)


async def accept(url: str, _: str) -> str:
    return url


class Promoted:
    """A model whose v2 was promoted; the test makes up its traffic from the second of the promotion on."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.probes = ProbeBook()
        self.means = Means(database, self.probes, accept, secrets.token_bytes)
        self.controller = Controller(
            self.means,
            decided=DecisionCount(),
            tick_interval_s=1.0,
            tally_keep_days=30,
            monotonic=time.monotonic,
            wall=time.time,
        )
        self.second = 0

    async def begin(self, policy: Policy, feedback: Feedback | None = None) -> None:
        await register_model(self.means, Model(FRAUD, feedback=feedback), actor="ann")
        for name in (V1, V2):
            await register_version(self.means, Version(FRAUD, name, ("http://127.0.0.1:9001",)), actor="ann")
        async with self.database.transaction() as tx:
            now = int((await routes.revision(tx)).at.timestamp())
            key = TallyKey(now - 60, FRAUD, 1, V1)
            await tallies.upsert(tx, BOOT, [TallyRow(key, _tally(10_000, 100), 1)])
        rollout, _ = await start_rollout(self.means, FRAUD, V2, policy, actor="ann", reason="new")
        await order(self.means, rollout.id, PromotionOrdered(), actor="ann", reason="now")
        self.second = (await self.watched()).watch.suspicions[ANSWERS].read_through

    async def traffic(
        self, seconds: int, *, bad: int = 10, standby_bad: int = 0, generation: int | None = None
    ) -> None:
        """So many seconds of 1,000 exchanges, drawn with the route's present weights, and the mature end of them."""
        async with self.database.transaction() as tx:
            route = await routes.route(tx, FRAUD)
            assert route is not None
            rows = []
            for _ in range(seconds):
                self.second += 1
                for name, n, wrong in ((V2, 990, bad), (V1, 10, standby_bad)):
                    key = TallyKey(self.second, FRAUD, generation or route.generation, name)
                    rows.append(TallyRow(key, _tally(n, wrong), 1))
            await tallies.upsert(tx, BOOT, rows)
            await replicas.beat(tx, BOOT, "proxy", Watermark(self.second, self.second), 0, frozenset())

    async def labels(self, seconds: int, *, wrong: int, standby_wrong: int) -> None:
        """So many more seconds of traffic, of which each label says that it was wrong or that it was not."""
        first = self.second + 1
        await self.traffic(seconds, bad=0)
        async with self.database.transaction() as tx:
            route = await routes.route(tx, FRAUD)
            assert route is not None
            for name, n, bad in ((V2, 990, wrong), (V1, 10, standby_wrong)):
                span = {"version": name, "generation": route.generation, "first": first, "last": self.second}
                for label, count in (("0", bad), ("1", n - bad)):
                    await tx.execute(_LABELS, {**span, "label": label, "count": count})

    async def watched(self) -> Watched:
        async with self.database.transaction() as tx:
            found = await standbys.latest(tx, FRAUD)
        assert found is not None
        return found

    async def seen(self) -> tuple[Seen, Seen]:
        suspicion = (await self.watched()).watch.suspicions[ANSWERS]
        return suspicion.stable_total, suspicion.standby_total

    async def last(self) -> decisions.Decision:
        async with self.database.transaction() as tx:
            return (await decisions.made(tx, model=FRAUD, limit=1))[0]


def _tally(exchanges: int, errors: int) -> Tally:
    outcomes = {Outcome.OK: exchanges - errors, Outcome.UPSTREAM_ERROR: errors}
    return Tally(exchanges, {outcome: count for outcome, count in outcomes.items() if count}, 0, {350: exchanges})


@pytest.fixture
async def promoted(database: Database) -> Promoted:
    model = Promoted(database)
    await model.begin(replace(DEFAULT_POLICY, warmup_s=0.0))
    return model


async def test_a_promoted_version_whose_labels_turn_bad_is_turned_back_once_they_are_old_enough(
    database: Database,
) -> None:
    promoted = Promoted(database)
    guardrails = (guardrail("errors"), guardrail("labels"))
    await promoted.begin(replace(DEFAULT_POLICY, warmup_s=0.0, guardrails=guardrails), Feedback((THUMBS,)))
    await promoted.labels(10, wrong=900, standby_wrong=1)
    await promoted.controller.tick()
    assert (await promoted.watched()).watch.suspicions["thumbs"].stable_total.judged == 0
    async with database.transaction() as tx:
        now = (await routes.revision(tx)).at.timestamp()
    await asyncio.sleep(max(0.0, promoted.second + THUMBS.horizon_s + GRACE_S + 1.0 - now))
    await promoted.traffic(LOOK_EVERY_S, bad=0)
    await promoted.controller.tick()
    decision = await promoted.last()
    assert (decision.action, decision.trigger) == ("roll_back", "decay")
    assert decision.weights_after == {V1: 10_000}
    assert "90.9 % of v2's 9,900 labelled answers were bad by thumbs, 10.0 % of v1's 100" in decision.sentence
    assert (await replayed(promoted)).outcome is ReplayOutcome.AGREES


async def test_a_promoted_version_whose_answers_turn_bad_is_turned_back_to_its_standby(promoted: Promoted) -> None:
    await promoted.traffic(20)
    await promoted.controller.tick()
    assert (await promoted.last()).action == "promote"
    await promoted.traffic(10, bad=900)
    with capture_logs() as logs:
        await promoted.controller.tick()
    decision = await promoted.last()
    assert (decision.action, decision.actor, decision.trigger) == ("roll_back", "engine", "decay")
    assert decision.weights_after == {V1: 10_000}
    assert [log["trigger"] for log in logs if log["event"] == "decision.made"] == ["decay"]
    assert (await promoted.watched()).ended_by is EndedBy.DECAY
    await promoted.controller.tick()
    assert (await promoted.last()).id == decision.id


async def test_every_mature_second_is_read_once_and_only_of_the_watchs_own_weights(promoted: Promoted) -> None:
    await promoted.traffic(5, generation=1)
    await promoted.traffic(7, bad=9, standby_bad=1)
    await change_route(
        promoted.means, FRAUD, RouteChange(mirror=Mirror(V1, 100)), actor="ann", reason="it changes no weight"
    )
    await promoted.traffic(3)
    for _ in range(3):
        await promoted.controller.tick()
    assert await promoted.seen() == (Seen(10 * 990, 93), Seen(100, 7))


async def test_it_looks_again_only_when_some_seconds_have_come(promoted: Promoted) -> None:
    await promoted.traffic(4)
    await promoted.controller.tick()
    assert (await promoted.seen())[0].judged == 0
    await promoted.traffic(1)
    await promoted.controller.tick()
    assert (await promoted.seen())[0].judged == 5 * 990


async def test_both_worse_is_told_and_nobody_is_turned_back(promoted: Promoted) -> None:
    await promoted.traffic(60, bad=500, standby_bad=5)
    with capture_logs() as logs:
        await promoted.controller.tick()
        await promoted.traffic(60, bad=500, standby_bad=5)
        await promoted.controller.tick()
    assert [(log["found"], log["model"]) for log in logs if log["event"] == "watch.finding"] == [("external", "fraud")]
    assert (await promoted.last()).action == "promote"


async def test_a_policy_whose_errors_only_warn_is_told_and_keeps_its_version(database: Database) -> None:
    model = Promoted(database)
    await model.begin(
        replace(DEFAULT_POLICY, warmup_s=0.0, guardrails=(guardrail("errors", on_regression=OnRegression.HOLD),))
    )
    await model.traffic(20, bad=900)
    with capture_logs() as logs:
        await model.controller.tick()
    assert [log["found"] for log in logs if log["event"] == "watch.finding"] == ["decay"]
    assert (await model.watched()).ended_by is None


async def test_traffic_does_not_return_to_a_standby_that_is_dead(promoted: Promoted) -> None:
    await promoted.traffic(20, bad=900)
    promoted.probes.dead.add(V1)
    with capture_logs() as logs:
        await promoted.controller.tick()
        await promoted.controller.tick()
    assert [log["event"] for log in logs if log["log_level"] == "error"] == ["rollout.target_unhealthy"]
    promoted.probes.dead.clear()
    await promoted.controller.tick()
    assert (await promoted.watched()).ended_by is EndedBy.DECAY


async def test_a_watch_ends_when_its_time_is_over_though_nobody_serves(promoted: Promoted) -> None:
    async with promoted.database.transaction() as tx:
        changed = (
            """UPDATE watches SET until = '2001-01-01', state = jsonb_set(state, '{until}', '"2001-01-01T00:00:00Z"')"""
        )
        await tx.execute(text(changed))
    await promoted.controller.tick()
    decision = await promoted.last()
    assert (decision.action, decision.weights_after) == ("end_watch", {V2: 10_000})
    assert decision.sentence.startswith("v2 goes on alone: v1 gave 0 answers beside it")


async def test_the_evidence_of_a_standby_is_a_figure_for_as_long_as_it_is_there(promoted: Promoted) -> None:
    def told() -> list[object]:
        series = StandingFigures(lambda: promoted.controller.standing).series()
        return [each.value for each in series if each.family.name == "turnback_watch_evidence"]

    await promoted.traffic(20)
    await promoted.controller.tick()
    await promoted.controller.tick()
    assert told() == [(await promoted.watched()).watch.log_m]
    await promoted.traffic(20, bad=900)
    await promoted.controller.tick()
    await promoted.controller.tick()
    assert told() == []


async def test_the_phase_of_a_promotion_that_was_taken_back_is_not_promoted_any_more(promoted: Promoted) -> None:
    await promoted.controller.tick()
    assert promoted.controller.standing.phases[FRAUD] is Phase.PROMOTED
    watch = (await promoted.watched()).watch
    await order(promoted.means, watch.rollout_id, RollbackOrdered(), actor="ann", reason="after all")
    await promoted.controller.tick()
    assert promoted.controller.standing.phases[FRAUD] is Phase.ROLLED_BACK


async def test_after_an_outage_of_the_control_plane_it_catches_up_in_bounded_steps(promoted: Promoted) -> None:
    await promoted.traffic(READ_AT_ONCE_S + 50, bad=0)
    await promoted.controller.tick()
    assert (await promoted.seen())[0].judged == READ_AT_ONCE_S * 990
    await promoted.controller.tick()
    assert (await promoted.seen())[0].judged == (READ_AT_ONCE_S + 50) * 990


async def replayed(model: Promoted) -> Replayed:
    return await replay(model.means, (await model.last()).id, from_rows=True)


async def test_a_decay_is_made_again_from_what_it_stored_to_the_last_bit(promoted: Promoted) -> None:
    await promoted.traffic(70, bad=40)
    await promoted.controller.tick()
    await promoted.traffic(30, bad=900, standby_bad=1)
    await promoted.controller.tick()
    assert (await promoted.last()).trigger == "decay"
    again = await replayed(promoted)
    assert (again.outcome, again.differences) == (ReplayOutcome.AGREES, ())
    assert again.from_rows is not None
    assert again.from_rows.agrees is None
    changed = "UPDATE decisions SET evidence = jsonb_set(evidence, '{watch,suspicions,answers,stable,1}', '50') "
    async with promoted.database.transaction() as tx:
        await tx.execute(text(changed + "WHERE trigger = 'decay'"))
    assert (await replayed(promoted)).outcome is ReplayOutcome.DIFFERS


async def test_the_end_of_a_watch_is_made_again_too(promoted: Promoted) -> None:
    async with promoted.database.transaction() as tx:
        changed = (
            """UPDATE watches SET until = '2001-01-01', state = jsonb_set(state, '{until}', '"2001-01-01T00:00:00Z"')"""
        )
        await tx.execute(text(changed))
    await promoted.traffic(20)
    await promoted.controller.tick()
    assert (await promoted.last()).action == "end_watch"
    assert (await replayed(promoted)).outcome is ReplayOutcome.AGREES


async def test_a_watch_that_cannot_be_read_is_named_until_it_can(promoted: Promoted) -> None:
    await promoted.traffic(20)
    async with promoted.database.transaction() as tx:
        await tx.execute(text("CREATE TABLE before AS SELECT state FROM watches"))
        await tx.execute(text("UPDATE watches SET state = jsonb_set(state, '{suspicions}', '\"of tomorrow\"')"))
    await promoted.controller.tick()
    assert list(promoted.controller.standing.unreadable) == [FRAUD]
    assert promoted.controller.standing.watched == {}
    async with promoted.database.transaction() as tx:
        await tx.execute(text("UPDATE watches SET state = (SELECT state FROM before)"))
    await promoted.controller.tick()
    assert promoted.controller.standing.unreadable == {}
    assert (await promoted.seen())[0].judged == 20 * 990


async def test_what_another_process_looked_at_is_a_figure_here_too(promoted: Promoted) -> None:
    other = Promoted(promoted.database)
    await promoted.traffic(20)
    await promoted.controller.tick()
    await other.controller.tick()
    assert other.controller.standing.watched == promoted.controller.standing.watched
    assert other.controller.standing.watched == {FRAUD: (await promoted.watched()).watch.log_m}


async def test_a_state_that_nobody_changed_is_not_parsed_again(
    promoted: Promoted, monkeypatch: pytest.MonkeyPatch
) -> None:
    await promoted.traffic(20)
    await promoted.controller.tick()
    monkeypatch.setattr(standbys, "watch_from_json", None)
    await promoted.controller.tick()
    assert promoted.controller.standing.unreadable == {}
    monkeypatch.undo()
    assert promoted.controller.standing.watched == {FRAUD: (await promoted.watched()).watch.log_m}
