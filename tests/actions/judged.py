"""A rollout whose traffic the test makes up and whose looks the test times; all else is the product's."""

from dataclasses import replace
from datetime import timedelta
from typing import Any, Self

from app.actions.context import Means
from app.actions.rollouts import record_assessment, start_rollout
from app.controller.look import with_new_evidence
from app.domain.catalog.models import ModelName, VersionName
from app.domain.catalog.policy import Policy
from app.domain.catalog.routing import FULL_BP
from app.domain.evidence.tally import Outcome, Tally, TallyKey, TallyRow, UnitRow, Watermark
from app.domain.rollout.evaluation import Sight, judge
from app.domain.rollout.rollout import Phase, Rollout
from app.store.evidence import randomization_units, tallies
from app.store.rollouts import rollouts
from app.store.rollouts.decisions import Decision
from app.store.routing import replicas, routes

FRAUD, V1, V2 = ModelName("fraud"), VersionName("v1"), VersionName("v2")
BOOT = "0" * 32


class JudgedRollout:
    """The rollout of v2, one second of traffic and one look at a time."""

    def __init__(self, means: Means, rollout: Rollout) -> None:
        self.means = means
        self.rollout = rollout
        self.second = rollout.evidence.started_s
        self.decisions: list[Decision] = []

    @classmethod
    async def begun(cls, means: Means, policy: Policy) -> Self:
        rollout, decision = await start_rollout(means, FRAUD, V2, policy, actor="ann", reason="a test")
        judged = cls(means, rollout)
        judged.decisions.append(decision)
        return judged

    @staticmethod
    async def usual(means: Means) -> None:
        """Let stable have answered before, in 1 % of the cases badly."""
        async with means.database.transaction() as tx:
            route, now = await routes.route(tx, FRAUD), await routes.revision(tx)
            assert route is not None
            key = TallyKey(int(now.at.timestamp()) - 60, FRAUD, route.generation, V1)
            await tallies.upsert(tx, BOOT, [TallyRow(key, _tally(10_000, 0.01, 0.0), 1)])

    async def traffic(
        self,
        exchanges: int,
        *,
        stable_bad: float = 0.01,
        canary_bad: float = 0.01,
        canary_left: float = 0.0,
        canary_share: float | None = None,
    ) -> None:
        """One more second: both arms are bad in 1 % of their answers, the coin fair unless told otherwise.

        Args:
            canary_left: Share of the canary's exchanges whose client did not wait for the answer.
        """
        async with self.means.database.transaction() as tx:
            route = await routes.route(tx, FRAUD)
            assert route is not None
            weight = route.weights_bp.get(V2, 0) / FULL_BP if canary_share is None else canary_share
            canary = round(exchanges * weight)
            rows = [
                TallyRow(TallyKey(self.second, FRAUD, route.generation, version), _tally(n, bad, left), 1)
                for version, n, bad, left in (
                    (V1, exchanges - canary, stable_bad, 0.0),
                    (V2, canary, canary_bad, canary_left),
                )
                if n
            ]
            await tallies.upsert(tx, BOOT, rows)
            await replicas.beat(tx, BOOT, "proxy", Watermark(self.second, self.second), 0, frozenset())
        self.second += 1

    async def look(self, *, later_s: float = 0.0, braked: bool = False) -> Decision | None:
        """One look, as if it were `later_s` later than it is; the canary answers its probe."""
        async with self.means.database.transaction() as tx:
            seen = await rollouts.claim(tx, self.rollout.id)
            if seen is None:
                return None
            seen = replace(seen, at=seen.at + timedelta(seconds=later_s))
            sight = Sight(await with_new_evidence(tx, seen), braked, canary_ready=True)
            transition = judge(sight, seen.at).transition
            decision = await record_assessment(self.means, tx, seen, sight, transition)
        self.rollout = transition.rollout
        if decision is not None:
            self.decisions.append(decision)
        return decision

    async def play(self, seconds: int, *, exchanges: int, **arm: float) -> None:
        """A look, then a second of traffic, so often."""
        for _ in range(seconds):
            await self.look()
            await self.traffic(exchanges, **arm)
        await self.look()

    async def play_until(self, phase: Phase, *, exchanges: int, **arm: float) -> None:
        """The same until the rollout is there, for 200 seconds at most."""
        for _ in range(200):
            await self.play(1, exchanges=exchanges, **arm)
            if self.rollout.phase is phase:
                return
        raise AssertionError(f"still {self.rollout.phase} after {self.last.sentence}")

    @property
    def last(self) -> Decision:
        return self.decisions[-1]


def _tally(exchanges: int, bad: float, left: float) -> Tally:
    gone = round(exchanges * left)
    errors = round((exchanges - gone) * bad)
    outcomes = {Outcome.OK: exchanges - errors - gone, Outcome.UPSTREAM_ERROR: errors, Outcome.CANCELLED: gone}
    slow = exchanges // 20
    bins = {300: exchanges - slow, 400: slow}
    return Tally(
        exchanges,
        {outcome: count for outcome, count in outcomes.items() if count},
        0,
        {index: count for index, count in bins.items() if count},
    )


class StickyRollout(JudgedRollout):
    """The same of a sticky model: every exchange is some new caller's first, and each caller comes twice."""

    async def traffic(self, exchanges: int, **arm: Any) -> None:  # noqa: ANN401 -- what an arm does
        await super().traffic(2 * exchanges, **arm)
        second = self.second - 1
        async with self.means.database.transaction() as tx:
            route = await routes.route(tx, FRAUD)
            assert route is not None
            canary = exchanges * route.weights_bp.get(V2, 0) // FULL_BP
            callers = [
                UnitRow(
                    FRAUD,
                    route.salted_at,
                    second * 10_000 + caller,
                    second,
                    route.generation,
                    V2 if caller < canary else V1,
                    Outcome.UPSTREAM_ERROR if caller < canary or caller % 100 == 99 else Outcome.OK,
                    300,
                )
                for caller in range(exchanges)
            ]
            await randomization_units.upsert(tx, BOOT, callers)
