"""Which upstream an exchange gets: a well one if there is one, the less loaded of two."""

from hypothesis import given
from hypothesis import strategies as st

from app.domain.catalog.models import ModelName, Protocol, Version, VersionName
from app.proxy.bounds.limits import DEFAULT_LIMITS
from app.proxy.upstream.breaker import OpenCount
from app.proxy.upstream.connector import Reach
from app.proxy.upstream.endpoint import FAILURES_TO_EJECT, PROBES_TO_LEAVE, Upstream
from app.proxy.upstream.pool import Pool
from app.recording.totals import Totals

NOW = 1_000.0


def pool_of(count: int) -> Pool:
    """A version with so many upstreams that have done nothing yet."""
    urls = tuple(f"http://127.0.0.1:{port}" for port in range(1, count + 1))
    version = Version(ModelName("fraud"), VersionName("v1"), urls)
    return Pool(version, Protocol.AUTO, DEFAULT_LIMITS, OpenCount(), Reach(), Totals(version.model, version.name))


conditions = st.lists(st.tuples(st.booleans(), st.floats(0, 2 * NOW), st.integers(0, 50)), min_size=1, max_size=8)


@given(conditions, st.integers(0, 8))
def test_an_unwell_upstream_is_never_chosen_while_a_well_one_exists(
    states: list[tuple[bool, float, int]], failed: int
) -> None:
    pool = pool_of(len(states))
    for upstream, (is_ready, ejected_until, in_flight) in zip(pool.upstreams, states, strict=True):
        upstream.is_ready, upstream.ejected_until, upstream.in_flight = is_ready, ejected_until, in_flight
    apart_from = pool.upstreams[failed] if failed < len(states) else None
    others = [upstream for upstream in pool.upstreams if upstream is not apart_from] or list(pool.upstreams)
    for _ in range(20):
        chosen = pool.choose(NOW, apart_from)
        assert chosen in others
        assert chosen.is_well(NOW) or not any(upstream.is_well(NOW) for upstream in others)


@given(st.lists(st.integers(0, 50), min_size=2, max_size=8))
def test_the_most_loaded_upstream_is_chosen_only_among_equals(loads: list[int]) -> None:
    pool = pool_of(len(loads))
    for upstream, in_flight in zip(pool.upstreams, loads, strict=True):
        upstream.in_flight = in_flight
    for _ in range(20):
        chosen = pool.choose(NOW)
        assert any(other is not chosen and other.in_flight >= chosen.in_flight for other in pool.upstreams)


def test_every_well_upstream_is_chosen_sometimes() -> None:
    pool = pool_of(5)
    pool.upstreams[2].is_ready = False
    chosen = {pool.choose(NOW) for _ in range(400)}
    assert chosen == {upstream for upstream in pool.upstreams if upstream.is_ready}


steps = st.lists(st.sampled_from(["failed", "answered", "ready", "unready", "a second passes"]), max_size=120)


@given(steps)
def test_an_upstream_is_unwell_only_after_five_failures_or_three_failed_probes_in_a_row(story: list[str]) -> None:
    upstream = pool_of(1).upstreams[0]
    now, failures, failed_probes, may_be_ejected, may_be_unready = NOW, 0, 0, False, False
    for step in story:
        if step == "failed":
            upstream.failed(now)
            failures += 1
            may_be_ejected |= failures >= FAILURES_TO_EJECT
        elif step == "answered":
            upstream.answered()
            failures = 0
        elif step == "a second passes":
            now += 1.0
        else:
            upstream.probed(ready=step == "ready")
            failed_probes = 0 if step == "ready" else failed_probes + 1
            may_be_unready = failed_probes >= PROBES_TO_LEAVE or (may_be_unready and step != "ready")
        assert upstream.is_well(now) or may_be_ejected or may_be_unready
        assert not (may_be_unready and upstream.is_well(now))


def ejected(times: int) -> tuple[Upstream, list[float]]:
    """An upstream that fails whenever it is tried, and for how long it was left out each time."""
    upstream = pool_of(1).upstreams[0]
    now, spans = NOW, []
    for _ in range(FAILURES_TO_EJECT - 1):
        upstream.failed(now)
    for _ in range(times):
        assert upstream.is_well(now)
        upstream.failed(now)
        spans.append(upstream.ejected_until - now)
        now = upstream.ejected_until
    return upstream, spans


def test_who_fails_again_after_an_ejection_is_left_out_at_once_and_for_longer() -> None:
    assert ejected(4)[1] == [10.0, 20.0, 30.0, 40.0]


def test_failures_while_it_is_ejected_prolong_nothing() -> None:
    upstream, _ = ejected(1)
    until = upstream.ejected_until
    for _ in range(20):
        upstream.failed(until - 1.0)
    assert upstream.ejected_until == until


def test_a_good_probe_ends_a_first_ejection_and_no_later_one() -> None:
    for times, ends in ((1, True), (2, False)):
        upstream, _ = ejected(times)
        before = upstream.ejected_until - 0.5
        upstream.probed(ready=True)
        assert upstream.is_well(before) is ends


def test_an_answer_forgives_the_ejections_before_it() -> None:
    upstream, _ = ejected(3)
    upstream.answered()
    now = upstream.ejected_until
    for _ in range(FAILURES_TO_EJECT):
        assert upstream.is_well(now)
        upstream.failed(now)
    assert upstream.ejected_until == now + DEFAULT_LIMITS.ejected_s
