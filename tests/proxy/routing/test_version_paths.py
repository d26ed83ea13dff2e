"""What a version wants in place of the path, or the model's name, that a client used."""

import pytest
from fakes.upstream_server import ok, upstream
from hypothesis import given
from hypothesis import strategies as st
from proxy.serving import Urls, gateway_with, routed, serving, table_of
from proxy.talking import get, post, talking

from app.domain.catalog.models import Match
from app.proxy.exchange.forwarded_request import _renamed

PATH = "/v2/models/fraud/versions/7"


@pytest.mark.parametrize(
    ("asked", "forwarded"),
    [
        ("/v2/models/fraud/infer", "/v2/models/fraud/versions/7/infer"),
        ("/v2/models/fraud", "/v2/models/fraud/versions/7"),
        ("/v2/models/fraud/infer?a=/v2/models/fraud", "/v2/models/fraud/versions/7/infer?a=/v2/models/fraud"),
        ("/v1/models/fraud:predict", "/v2/models/fraud/versions/7:predict"),
        ("/m/fraud/infer%2Fx", "/v2/models/fraud/versions/7/infer%2Fx"),
        ("/score/a", "/v2/models/fraud/versions/7/a"),
    ],
)
async def test_a_versions_path_stands_where_the_model_was_named(asked: str, forwarded: str) -> None:
    async with upstream() as server:
        table = table_of(routed({"v1": server.url}, paths={"v1": PATH}, match=Match(path_prefix="/score")))
        async with serving(gateway_with(table)) as port, talking(port) as talk:
            assert (await talk.ask(get(asked))).status == 200
        assert server.received[0].line.decode() == f"GET {forwarded} HTTP/1.1"


async def test_each_version_gets_its_own_path_and_a_fallback_gets_stables() -> None:
    async with upstream(ok(b"stable")) as stable, upstream(ok(b"canary")) as canary:
        urls: Urls = {"v1": f"{stable.url}/base", "v2": canary.url}
        table = table_of(routed(urls, {"v1": 0, "v2": 10_000}, paths={"v2": PATH}))
        async with serving(gateway_with(table)) as port, talking(port) as talk:
            assert (await talk.ask(post(b"abc"))).body == b"canary"
            await canary.stop()
            assert (await talk.ask(post(b"abc"))).body == b"stable"
        assert canary.received[0].line == b"POST /v2/models/fraud/versions/7/infer HTTP/1.1"
        assert stable.received[0].line == b"POST /base/v2/models/fraud/infer HTTP/1.1"
        assert canary.received[0].body == stable.received[0].body == b"abc"


@given(st.binary(max_size=80), st.binary(max_size=20), st.binary(max_size=80), st.binary(max_size=40))
def test_another_models_name_changes_its_own_bytes_and_the_length_only(
    before: bytes, name: bytes, after: bytes, served: bytes
) -> None:
    body = before + name + after
    lines = [b"x-content-length: 1", b"content-length: %d" % len(body), b"accept: */*"]
    renamed_lines, tail = _renamed(lines, b"\r\n" + body, (len(before), len(before) + len(name)), served)
    assert tail == b"\r\n" + before + served + after
    assert renamed_lines == [lines[0], b"content-length: %d" % (len(tail) - 2), lines[2]]


@pytest.mark.parametrize("ending", [b"", b" \n"])
async def test_each_version_is_asked_by_the_name_its_servers_know(ending: bytes) -> None:
    before, after = (
        b'{ "temperature": 0.10, "model" : "',
        b'","note":"\\u0066raud","messages":[{"model":"fraud"}]}' + ending,
    )
    async with upstream(ok(b"stable")) as stable, upstream(ok(b"canary")) as canary:
        urls: Urls = {"v1": stable.url, "v2": canary.url}
        table = table_of(routed(urls, {"v1": 0, "v2": 10_000}, served_models={"v2": "fraud/7b-awq"}))
        async with serving(gateway_with(table)) as port, talking(port) as talk:
            request = post(before + b"fraud" + after, "/v1/chat/completions", "content-type: application/json")
            assert (await talk.ask(request)).body == b"canary"
            await canary.stop()
            assert (await talk.ask(request)).body == b"stable"
        assert canary.received[0].body == before + b"fraud/7b-awq" + after
        assert stable.received[0].body == before + b"fraud" + after
