"""What explains a rollout and a mirror is read from what was stored of them."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from actions.judged import BOOT, FRAUD, V1, V2, JudgedRollout

from app.actions.context import Means
from app.actions.routes import RouteChange, change_route
from app.domain.catalog.models import VersionName
from app.domain.catalog.routing import Mirror
from app.domain.evidence.tally import Counter, Outcome, Tally, TallyKey, TallyRow
from app.domain.guardrails.policy import DEFAULT_POLICY, guardrail
from app.domain.rollout.rollout import Phase
from app.queries.explanation import explained_mirror, explained_rollout
from app.store.evidence import tallies
from app.store.routing import routes

V3 = VersionName("v3")
ERRORS_ONLY = replace(DEFAULT_POLICY, warmup_s=0.0, guardrails=(guardrail("errors"),), max_extra_bad=1_000.0)


async def test_a_rollout_is_explained_with_its_whole_way(fraud: Means) -> None:
    judged = await JudgedRollout.begun(fraud, ERRORS_ONLY)
    await judged.play_until(Phase.ROLLED_BACK, exchanges=2_000, canary_bad=1.0)
    async with fraud.database.transaction() as tx:
        explained = await explained_rollout(tx, judged.rollout, datetime.fromtimestamp(judged.second, UTC))
    assert [decision.id for decision in explained.history] == [decision.id for decision in judged.decisions]
    assert explained.explanation.sentence == "v2 is proven worse than v1."
    assert (explained.behind_s, explained.not_counted) == (None, {})


async def test_a_running_rollout_says_how_far_behind_it_is_read(fraud: Means) -> None:
    judged = await JudgedRollout.begun(fraud, ERRORS_ONLY)
    await judged.play(6, exchanges=2_000)
    async with fraud.database.transaction() as tx:
        explained = await explained_rollout(tx, judged.rollout, datetime.fromtimestamp(judged.second + 3, UTC))
    assert explained.behind_s == pytest.approx(3.0)
    assert explained.not_counted[V1].exchanges > explained.not_counted[V2].exchanges > 0


async def test_what_is_no_evidence_is_shown_of_the_last_hour_alone(fraud: Means) -> None:
    judged = await JudgedRollout.begun(fraud, ERRORS_ONLY)
    now = judged.second
    excluded = Tally(7, {Outcome.OK: 4, Outcome.CANCELLED: 3}, 2, {}, {Counter.FORCED: 1})
    rows = [TallyRow(TallyKey(second, FRAUD, 2, V2), excluded, 1) for second in (now, now + 7_200)]
    async with fraud.database.transaction() as tx:
        await tallies.upsert(tx, BOOT, rows)
        at = datetime.fromtimestamp(now, UTC)
        early = (await explained_rollout(tx, judged.rollout, at + timedelta(seconds=5))).not_counted[V2]
        late = (await explained_rollout(tx, judged.rollout, at + timedelta(seconds=7_205))).not_counted[V2]
    assert (early.excluded, early.counters[Counter.FORCED], early.outcomes[Outcome.CANCELLED]) == (2, 1, 3)
    assert late == early


async def mirrored(means: Means, *, since: int, failed: int) -> None:
    """One second of the mirror's answers, so many of which failed where the primary's did not."""
    counters = {Counter.MIRROR_PAIRS: 100, Counter.MIRROR_ONLY_PRIMARY_OK: failed, Counter.MIRROR_ONLY_MIRROR_OK: 1}
    async with means.database.transaction() as tx:
        await tallies.upsert(tx, BOOT, [TallyRow(TallyKey(since, FRAUD, 2, V3), Tally(counters=counters), 1)])


async def test_a_mirror_is_explained_by_its_pairs_since_it_was_set(fraud: Means) -> None:
    made = await change_route(fraud, FRAUD, RouteChange(mirror=Mirror(V3, 500)), actor="ann", reason="a test")
    since = int(made.at.timestamp())
    await mirrored(fraud, since=since - 60, failed=90)
    await mirrored(fraud, since=since + 1, failed=20)
    async with fraud.database.transaction() as tx:
        route = await routes.route(tx, FRAUD)
        assert route is not None
        explained = await explained_mirror(tx, route, DEFAULT_POLICY)
    assert explained is not None
    assert (explained.mirror, explained.since) == (Mirror(V3, 500), made.at)
    assert (explained.paired.pairs, explained.paired.mirror_only_failed) == (100, 20)
    assert "it is proven to fail more often" in explained.paired.sentence


async def test_without_a_mirror_there_is_nothing_to_explain(fraud: Means) -> None:
    async with fraud.database.transaction() as tx:
        route = await routes.route(tx, FRAUD)
        assert route is not None
        assert await explained_mirror(tx, route, DEFAULT_POLICY) is None
