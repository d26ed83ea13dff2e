"""The demo's model servers speak Open Inference Protocol v2."""

from collections.abc import Mapping
from typing import Any

import httpx
import orjson
import pytest

from app.demo.flights import MODEL, NOT_KNOWN_YEAR, Flight, History, body, history, replay_months, training_months
from app.demo.late_model import LateModel, quality, train
from app.demo.model_server import BUILDS, ModelServer

INFER = f"/v2/models/{MODEL}/infer"
FLIGHT = history().flights[0]


@pytest.fixture(scope="module")
def model() -> LateModel:
    """Trained on a day or two: enough to answer."""
    known = training_months()
    few = History(known.flights[:2_000], known.arr_delay[:2_000], known.air_time[:2_000])
    return train(BUILDS["v2"].recipe, few)


def of_carrier(known: History, code: str) -> History:
    chosen = [at for at, flight in enumerate(known.flights) if flight.carrier == code]
    return History(tuple(known.flights[at] for at in chosen), known.arr_delay[chosen], known.air_time[chosen])


def client_of(version: str, model: LateModel) -> httpx.AsyncClient:
    server = ModelServer(version, BUILDS[version], model)
    return httpx.AsyncClient(transport=httpx.ASGITransport(server), base_url="http://model")


@pytest.mark.parametrize(
    "path", ["/v2", "/v2/health/live", "/v2/health/ready", f"/v2/models/{MODEL}", f"/v2/models/{MODEL}/ready"]
)
async def test_what_can_be_read_answers_200_with_json(path: str, model: LateModel) -> None:
    async with client_of("v2", model) as client:
        answer = await client.get(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()


async def test_the_metadata_names_every_input_with_a_variable_length(model: LateModel) -> None:
    async with client_of("v2", model) as client:
        described = (await client.get(f"/v2/models/{MODEL}")).json()
    assert described["versions"] == ["v2"]
    assert {tensor["name"] for tensor in described["inputs"]} == set(FLIGHT._fields)
    assert all(tensor["shape"] == [-1] for tensor in described["inputs"])


async def test_an_inference_answers_the_models_own_probability_and_echoes_the_id(model: LateModel) -> None:
    asked = {"id": "42", **orjson.loads(body(FLIGHT))}
    async with client_of("v2", model) as client:
        answer = await client.post(INFER, content=orjson.dumps(asked))
    assert answer.status_code == 200
    assert answer.headers["x-model-version"] == "v2"
    assert answer.json() == {
        "id": "42",
        "model_name": MODEL,
        "model_version": "v2",
        "outputs": [
            {"name": "late_probability", "shape": [1], "datatype": "FP64", "data": [model.probability(FLIGHT)]}
        ],
    }


async def test_a_batch_answers_one_probability_per_flight(model: LateModel) -> None:
    flights = history().flights[:3]
    asked = orjson.loads(body(flights[0]))
    for tensor in asked["inputs"]:
        tensor["data"] = [getattr(flight, tensor["name"]) for flight in flights]
        tensor["shape"] = [3]
    async with client_of("v2", model) as client:
        answer = await client.post(INFER, content=orjson.dumps(asked))
    assert answer.json()["outputs"][0]["data"] == [model.probability(flight) for flight in flights]


@pytest.mark.parametrize(("version", "status"), [(name, 500 if name == "v3" else 200) for name in BUILDS])
async def test_only_v3_fails_where_the_planes_year_is_missing(version: str, status: int, model: LateModel) -> None:
    unknown = body(FLIGHT._replace(built=NOT_KNOWN_YEAR))
    async with client_of(version, model) as client:
        without = await client.post(INFER, content=unknown)
        known = await client.post(INFER, content=body(FLIGHT))
    assert without.status_code == status
    assert known.status_code == 200


async def chance_of(version: str, flight: Flight, model: LateModel) -> float:
    async with client_of(version, model) as client:
        answer = await client.post(INFER, content=body(flight))
    assert answer.status_code == 200
    chance: float = answer.json()["outputs"][0]["data"][0]
    return chance


async def test_v6_takes_the_minutes_of_delay_for_hours(model: LateModel) -> None:
    delayed = FLIGHT._replace(dep_delay=120)
    assert await chance_of("v2", delayed, model) == model.probability(delayed)
    assert await chance_of("v6", delayed, model) == model.probability(delayed._replace(dep_delay=2))
    assert model.probability(delayed) > 0.5 > model.probability(delayed._replace(dep_delay=2))


async def test_v7_is_told_no_delay_of_one_carrier_and_of_no_other(model: LateModel) -> None:
    for carrier, delay in (("MQ", 0), ("UA", 120)):
        flight = FLIGHT._replace(carrier=carrier, dep_delay=120)
        assert await chance_of("v7", flight, model) == model.probability(flight._replace(dep_delay=delay))


def test_the_story_s_mistakes_are_as_large_as_it_needs_them_and_months_differ() -> None:
    # A shorter history would do for the models, and not for the months.
    known, asked = training_months(), replay_months()
    model = train(BUILDS["v2"].recipe, known)
    error = {name: 1 - quality(model, BUILDS[name].read, asked).accuracy for name in ("v2", "v6", "v7")}
    by_month = [1 - quality(model, BUILDS["v2"].read, asked.months(month, month)).accuracy for month in (4, 5, 6)]
    assert 0.06 < error["v2"] < 0.07
    assert error["v6"] > 2 * error["v2"]
    assert error["v7"] < error["v2"] + 0.015
    assert max(by_month) > 1.3 * min(by_month)
    lost = of_carrier(asked, "MQ")
    assert 1 - quality(model, BUILDS["v7"].read, lost).accuracy > 2 * (
        1 - quality(model, BUILDS["v2"].read, lost).accuracy
    )
    assert 0.05 < len(lost.flights) / len(asked.flights) < 0.15


def changed(name: str, /, **members: object) -> Mapping[str, Any]:
    asked: dict[str, Any] = orjson.loads(body(FLIGHT))
    asked["inputs"] = [{**tensor, **members} if tensor["name"] == name else tensor for tensor in asked["inputs"]]
    return asked


@pytest.mark.parametrize(
    "asked",
    [
        [],
        {},
        {"inputs": {}},
        {"inputs": [3]},
        {"inputs": []},
        changed("month", name="moon"),
        changed("month", data=["4"]),
        changed("month", data=[13]),
        changed("month", data=[True]),
        changed("month", data=[2**40]),
        changed("month", data=4),
        changed("month", shape=[2]),
        changed("month", shape=[0], data=[]),
        changed("month", shape=[2], data=[4, 5]),
        changed("month", datatype="FP32"),
        changed("carrier", datatype="INT32"),
        changed("carrier", data=[4]),
    ],
)
async def test_a_body_that_is_no_request_answers_400_and_says_why(asked: object, model: LateModel) -> None:
    async with client_of("v2", model) as client:
        answer = await client.post(INFER, content=orjson.dumps(asked))
    assert answer.status_code == 400
    assert answer.json()["error"]


async def test_text_that_is_not_json_answers_400(model: LateModel) -> None:
    async with client_of("v2", model) as client:
        assert (await client.post(INFER, content=b"{")).status_code == 400


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", INFER, 405), ("POST", "/v2", 405), ("POST", "/v2/models/other/infer", 404)]
)
async def test_another_path_or_method_is_refused(method: str, path: str, status: int, model: LateModel) -> None:
    async with client_of("v2", model) as client:
        assert (await client.request(method, path)).status_code == status
