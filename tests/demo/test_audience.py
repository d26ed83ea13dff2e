"""Followers of the story see what the admin API's own documents say."""

import io
from datetime import UTC, datetime

from rich.console import Console, Group

from app.admin.models.views import ModelView, RouteView
from app.admin.rollouts.views import RolloutView
from app.demo.audience import Lines, Screen, screen
from app.demo.flights import history
from app.demo.replay import Answer, Counts
from app.demo.story import Scene
from app.domain.catalog.models import Model, ModelName, VersionName
from app.domain.catalog.routing import Route
from app.domain.evidence.tally import Tally
from app.domain.guardrails.policy import DEFAULT_POLICY
from app.domain.rollout.rollout import RolloutId, begin
from app.queries.models import ObservedRoute, WholeModel

MODEL, STABLE, CANARY = ModelName("flight-delay"), VersionName("v1"), VersionName("v2")


def scene() -> Scene:
    counts = Counts()
    for at in range(5):
        counts.add(Answer(200, "v1", "v1", None, 0.002), float(at))
    counts.add(Answer(500, "v2", "v2", None, 0.004), 5.0)
    now = datetime(2026, 11, 23, 12, tzinfo=UTC)
    rollout = begin(RolloutId("one"), MODEL, STABLE, CANARY, DEFAULT_POLICY, Tally(), now)
    route = Route(MODEL, 3, STABLE, {STABLE: 9_900, CANARY: 100})
    return Scene(
        flight=history().flights[100_000],
        counts=counts,
        seconds=3.0,
        model=ModelView.of_whole(WholeModel(Model(MODEL), route, rollout, None, ())).model_dump(mode="json"),
        rollout=RolloutView.of(rollout).model_dump(mode="json"),
        route=RouteView.of_route(ObservedRoute(route, {STABLE: 5, CANARY: 1}), 60).model_dump(mode="json"),
    )


def test_the_screen_shows_both_arms_their_weights_and_the_day() -> None:
    out = io.StringIO()
    Console(file=out, width=140).print(Group(*screen(scene())))
    shown = out.getvalue()
    assert "flights of 2013-04-" in shown
    assert "0 failed by the gateway" in shown
    assert "99 %" in shown
    assert [line.split()[1:4] for line in shown.splitlines() if "2.0 ms" in line or "4.0 ms" in line] == [
        ["v1", "5", "0"],
        ["v2", "1", "1"],
    ]


def test_the_last_sentences_stay_when_the_live_view_is_over() -> None:
    out = io.StringIO()
    with Screen(Console(file=out, width=140, force_terminal=True)) as follower:
        follower.hear("v2 meets real traffic.")
        follower.see(scene())
    assert out.getvalue().rstrip().endswith("v2 meets real traffic.")


def test_lines_say_every_sentence_and_now_and_then_where_the_rollout_stands() -> None:
    out = io.StringIO()
    with Lines(out) as follower:
        follower.hear("v2 meets real traffic.")
        follower.see(scene())
        follower.see(scene())
    told = out.getvalue().splitlines()
    assert told[0] == "v2 meets real traffic."
    assert len(told) == 2
    assert "6 answers" in told[1]
    assert "v2 pending at 0 %, no_events" in told[1]
