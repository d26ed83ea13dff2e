"""Every peer that is here really relays: small, large and streamed."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest
import yaml

from app import compiled
from app.domain.catalog.models import ModelName, Version, VersionName
from app.recording.accounting import Accounting
from app.recording.arm import Arm
from bench import configurations, streams
from bench.cpu import split_cpus
from bench.message import CHAT, INFER, LARGE, MANY_MODELS, Message
from bench.peer_turnback import gateway_of, table_of
from bench.peers import FASTAPI_AIOHTTP, PEERS, UNRECORDED, Peer, with_models
from bench.servers import CHECKOUT, BenchFailed, Server, answered_by, exchange_once, free_port, python_module, running
from bench.workloads import Bench, Plan, bench_of

NAMES = ("turnback", "turnback_compiled", "nginx", "haproxy", "envoy", "fastapi_aiohttp", "fastapi_httpx")


def silent(_line: str) -> None:
    """Nobody watches a test."""


@contextmanager
def in_front_of_an_upstream(peer: Peer) -> Iterator[tuple[Bench, Server]]:
    if not peer.present():
        pytest.skip(f"{peer.name} is not here: {peer.install}")
    with bench_of(Plan(cycles=0, tool="own"), [], Random(1), silent) as bench, bench.started(peer) as proxy:
        yield bench, proxy


def peer_named(name: str) -> Peer:
    return next(peer for peer in PEERS if peer.name == name)


@pytest.mark.bench
@pytest.mark.parametrize("name", NAMES)
def test_a_peer_relays_small_large_and_streamed_answers(name: str) -> None:
    with in_front_of_an_upstream(peer_named(name)) as (bench, proxy):
        before = answered_by(bench.upstream)
        assert [exchange_once(proxy.port, message) for message in (INFER, LARGE)] == ["", ""]
        got = streams.play(proxy.port, streams=2, waves=1)
        assert (got.events, got.failed) == (2 * 101, 0)
        assert answered_by(bench.upstream) - before == 4


@pytest.mark.bench
@pytest.mark.parametrize(("variant", "asked"), [(with_models(100), MANY_MODELS), (UNRECORDED, INFER)])
def test_a_variant_of_ours_relays_what_it_is_asked(variant: Peer, asked: Message) -> None:
    with in_front_of_an_upstream(variant) as (_, proxy):
        assert exchange_once(proxy.port, asked) == ""


def test_litellm_answers_by_itself_and_needs_neither_key_nor_network(tmp_path: Path) -> None:
    """It takes too long to start for a test; a run in full proves that it answers."""
    written = yaml.safe_load(configurations.litellm(tmp_path).read_text())
    (model,) = written["model_list"]
    assert model["model_name"] == json.loads(CHAT.body)["model"]
    assert model["litellm_params"]["mock_response"]
    assert not peer_named("litellm").relays


def test_a_table_has_as_many_models_as_were_asked_for() -> None:
    table = table_of("http://127.0.0.1:1", 1_000)
    assert len({routed.model.name for routed in table.models}) == 1_000
    served = {f"/v2/models/{routed.model.name}/infer" for routed in table.models}
    assert served >= {*INFER.paths, *MANY_MODELS.paths}


@pytest.mark.skipif(compiled.is_in_use(), reason="a compiled class keeps its methods")
@pytest.mark.parametrize("recording", [True, False], ids=["on", "off"])
async def test_only_with_recording_does_an_exchange_leave_a_tally(
    recording: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("count_draw", "count_excluded", "count_latency", "count_outcome"):
        # What a whole process does to itself is taken back after the test.
        monkeypatch.setattr(Accounting, name, getattr(Accounting, name))
    gateway = gateway_of(recording=recording)
    gateway.swap(table_of("http://127.0.0.1:1"))
    arm: Arm = gateway.compiled.find(b"/v2/models/bench/infer", b"").route.stable
    exchange = Accounting(gateway.recorder, arm, gateway.monotonic())
    exchange.count_draw(arm)
    exchange.count_outcome(0, gateway.monotonic())
    rows = gateway.recorder.collect().rows
    gateway.close()
    assert exchange.arm is arm
    assert [row.tally.exchanges for row in rows] == ([1] if recording else [])


@pytest.mark.bench
def test_our_data_plane_leaves_when_its_journal_is_down(tmp_path: Path) -> None:
    """What a journal would have cost is not measured without one."""
    (tmp_path / "file").touch()

    def unwritable(port: int, upstream: int, _folder: Path) -> list[str]:
        return list(peer_named("turnback").command(port, upstream, tmp_path / "file"))

    peer = Peer("turnback", unwritable, lambda: True, "")
    with pytest.raises(BenchFailed, match="the journal is down"), in_front_of_an_upstream(peer):
        pass


@pytest.mark.bench
def test_a_data_plane_that_is_not_of_the_build_it_is_called_does_not_start() -> None:
    port = free_port()
    command = ["/usr/bin/env", f"{compiled.VARIABLE}=no", *python_module("bench.peer_turnback", port, 1)]
    with (
        pytest.raises(BenchFailed, match="does not let the compiled run"),
        running("turnback", [*command, "--build", "compiled"], port, split_cpus()[0]),
    ):
        pass


def test_the_two_fastapi_peers_differ_in_their_client_only() -> None:
    lock = (CHECKOUT / "requirements.lock").read_text()
    pinned = dict(re.findall(r"^([a-z0-9-]+)(?:\[[a-z]+\])?==([^ \\;]+)", lock, re.MULTILINE))
    theirs = dict(requirement.split("==") for requirement in FASTAPI_AIOHTTP.requirements)
    assert theirs.pop("aiohttp")
    assert theirs == {name: pinned[name] for name in theirs}


def test_a_version_s_upstream_is_the_one_it_was_given() -> None:
    (routed,) = table_of("http://127.0.0.1:7").models
    assert routed.versions[0] == Version(ModelName("bench"), VersionName("v1"), ("http://127.0.0.1:7",))
    assert sum(routed.route.weights_bp.values()) == 10_000


def test_configurations_stay_in_the_folder_they_were_given(tmp_path: Path) -> None:
    for name in ("nginx", "haproxy"):
        peer = peer_named(name)
        folder = tmp_path / name
        folder.mkdir()
        peer.command(1, 2, folder)
        assert [path.parent for path in folder.iterdir()] == [folder]
