"""From the raw bytes of a path to a model."""

import time

import pytest
from fakes.upstream_server import ok, upstream
from hypothesis import given
from hypothesis import strategies as st
from proxy.serving import gateway_with, routed, serving, table_of
from proxy.talking import get, talking

from app.domain.catalog.models import Match
from app.domain.catalog.routing import draw
from app.proxy import Gateway
from app.proxy.routing.table import BadTarget, NoRoute

URL = "http://127.0.0.1:9"
TABLE = table_of(
    routed({"v1": URL}, name="fraud"),
    routed({"v1": URL}, name="by-prefix", match=Match(path_prefix="/score")),
    routed({"v1": URL}, name="by-longer-prefix", match=Match(path_prefix="/score/deep")),
    routed({"v1": URL}, name="by-host", match=Match(host="Models.Test")),
    routed({"v1": URL}, name="by-both", match=Match(host="models.test", path_prefix="/score")),
)


@pytest.mark.parametrize(
    ("url", "host", "model", "forwarded"),
    [
        (b"/v2/models/fraud/infer", b"", "fraud", b"/v2/models/fraud/infer"),
        (b"/v2/models/fraud", b"", "fraud", b"/v2/models/fraud"),
        (b"/v2/models/fraud/versions/3/infer", b"", "fraud", b"/v2/models/fraud/versions/3/infer"),
        (b"/v1/models/fraud:predict", b"", "fraud", b"/v1/models/fraud:predict"),
        (b"/v1/models/fraud:explain?a=b", b"", "fraud", b"/v1/models/fraud:explain?a=b"),
        (b"/v1/models/fraud/metadata", b"", "fraud", b"/v1/models/fraud/metadata"),
        (b"/v1/models/fraud", b"", "fraud", b"/v1/models/fraud"),
        (b"/predictions/fraud", b"", "fraud", b"/predictions/fraud"),
        (b"/predictions/fraud/2", b"", "fraud", b"/predictions/fraud/2"),
        (b"/m/fraud", b"", "fraud", b"/"),
        (b"/m/fraud/", b"", "fraud", b"/"),
        (b"/m/fraud?q", b"", "fraud", b"/?q"),
        (b"/m/fraud/v1/chat//completions?a=%2f", b"", "fraud", b"/v1/chat//completions?a=%2f"),
        (b"/score", b"", "by-prefix", b"/score"),
        (b"/score/x?y", b"", "by-prefix", b"/score/x?y"),
        (b"/score?y", b"", "by-prefix", b"/score?y"),
        (b"/score/deep/er", b"", "by-longer-prefix", b"/score/deep/er"),
        (b"/score/deeper", b"", "by-prefix", b"/score/deeper"),
        (b"/score", b"models.test", "by-both", b"/score"),
        (b"/other", b"models.test", "by-host", b"/other"),
        (b"/m/unknown/x", b"models.test", "by-host", b"/m/unknown/x"),
        (b"/m/fraud/x", b"models.test", "fraud", b"/x"),
    ],
)
def test_a_path_leads_to_its_model_however_often_it_is_asked(
    url: bytes, host: bytes, model: str, forwarded: bytes
) -> None:
    compiled = gateway_with(TABLE).compiled
    for _ in range(2):
        target = compiled.find(url, host)
        assert target.route.stable.model == model
        assert target.forwarded(url, None) == forwarded


@pytest.mark.parametrize(
    ("url", "model"),
    [
        (b"/", None),
        (b"/scores", None),
        (b"/v2/models/", None),
        (b"/v2/models/nobody/infer", "nobody"),
        (b"/v1/models/nobody:predict", "nobody"),
        (b"/m/nobody", "nobody"),
        (b"/predictions/Fraud", "Fraud"),
        (b"/v2/models/frau%64/infer", "frau%64"),
    ],
)
def test_a_path_without_a_model_says_which_name_it_recognised(url: bytes, model: str | None) -> None:
    with pytest.raises(NoRoute) as unrouted:
        gateway_with(TABLE).compiled.find(url, b"")
    assert unrouted.value.model == model


@pytest.mark.parametrize(
    "url",
    [
        b"/m/fraud/../admin",
        b"/m/fraud/..",
        b"/m/fraud/./x",
        b"/m/fraud/%2e%2E/admin",
        b"/m/fraud/.%2e/admin",
        b"/m/fraud/a\\b",
        b"/m/fraud/#x",
        b"/m/fraud/\xc3\xa0",
        b"/m/fraud/a b",
        b"m/fraud",
    ],
)
def test_a_path_that_could_mean_another_one_is_refused(url: bytes) -> None:
    with pytest.raises(BadTarget):
        gateway_with(TABLE).compiled.find(url, b"")


def test_a_catch_all_comes_after_every_other_match() -> None:
    catch_all = routed({"v1": URL}, name="all", match=Match(path_prefix="/"))
    compiled = gateway_with(table_of(*TABLE.models, catch_all)).compiled
    assert compiled.find(b"/anything/at?all", b"").route.stable.model == "all"
    assert compiled.find(b"/", b"").route.stable.model == "all"
    assert compiled.find(b"/score/1", b"").route.stable.model == "by-prefix"


def test_remembered_paths_are_bounded() -> None:
    compiled = gateway_with(TABLE).compiled
    for number in range(10_000):
        compiled.find(b"/m/fraud/%d" % number, b"")
    assert len(compiled.known) <= 4096
    compiled.find(b"/m/fraud/" + b"x" * 5_000, b"")
    assert max(map(len, compiled.known)) <= 512


@given(
    stable=st.integers(0, 10_000),
    share=st.floats(0, 1),
    point=st.floats(0, 1, exclude_max=True),
)
def test_the_compiled_draw_is_the_domains(stable: int, share: float, point: float) -> None:
    second = round((10_000 - stable) * share)
    weights = {"v1": stable, "v2": second, "v3": 10_000 - stable - second}
    model = routed({"v1": URL, "v2": URL, "v3": URL}, weights)
    route = gateway_with(table_of(model)).compiled.find(b"/m/fraud", b"").route
    drawn = route.draw(point)
    assert drawn is not None
    assert drawn.version == draw(model.route, point)


async def test_an_unknown_model_is_a_404_that_names_it_and_keeps_the_connection() -> None:
    async with upstream() as server:
        gateway = gateway_with(table_of(routed({"v1": server.url})))
        async with serving(gateway) as port, talking(port) as talk:
            answer = await talk.ask(get("/v2/models/nobody/infer"))
            problem = answer.problem()
            assert (answer.status, problem["fault"]) == (404, "client")
            assert problem["type"].endswith(":UnknownModel")
            assert "nobody" in problem["detail"]
            answer = await talk.ask(get("/nothing/here"))
            assert answer.problem()["type"].endswith(":UnknownPath")
            assert (await talk.ask(get())).status == 200


async def test_models_are_told_apart_by_host() -> None:
    async with upstream(ok(b"a")) as one, upstream(ok(b"b")) as two:
        gateway = gateway_with(
            table_of(
                routed({"v1": one.url}, name="a", match=Match(host="a.test")),
                routed({"v1": two.url}, name="b", match=Match(host="b.test")),
            )
        )
        async with serving(gateway) as port, talking(port) as talk:
            for _ in range(2):
                for host, body in (("A.test:8320", b"a"), ("b.test", b"b")):
                    request = f"GET /x HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
                    assert (await talk.ask(request)).body == body


async def test_before_the_first_table_every_path_is_a_503_of_the_gateways_own() -> None:
    gateway = Gateway(time.time)
    async with serving(gateway) as port, talking(port) as talk:
        for path in ("/v2/models/fraud/infer", "/anything"):
            answer = await talk.ask(get(path))
            assert (answer.status, answer.problem()["fault"]) == (503, "gateway")
            assert answer.field("retry-after")
