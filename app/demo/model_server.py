"""A model server of the demo: one version as one bare ASGI process that speaks Open Inference Protocol v2.

Rule: it knows nothing of the gateway; what is wrong with a version is wrong in its own answers.
"""

import argparse
import asyncio
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, TypeAlias

import orjson
import uvicorn

from app.demo.flights import ABSENT, CODES, MODEL, Flight, replay_months, training_months
from app.demo.late_model import LateModel, Recipe, quality, train

Message: TypeAlias = MutableMapping[str, Any]  # an ASGI message, whose values the ASGI specification types
Tensors: TypeAlias = Mapping[str, Sequence[Any]]  # str or int, by the input's name
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]

MAX_BODY = 1 << 20
INTEGERS = frozenset({"INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64"})
ANY = (-(2**31), 2**31 - 1)
RANGES: Mapping[str, tuple[int, int]] = {"month": (1, 12), "day": (1, 31), "minute": (0, 1439)}


@dataclass(frozen=True, slots=True)
class Build:
    """The making of one version.

    Attributes:
        from_month: First month it is trained on.
        absent: The values that stand for inputs which a request may leave out.
        wait_s: Added to every answer.
        delay_unit: Minutes of departure delay that its server takes for one.
        lost_carrier: Of whose flights it does not learn the departure delay; or None.
    """

    recipe: Recipe
    from_month: int = 1
    absent: Mapping[str, int] = field(default_factory=lambda: ABSENT)
    wait_s: float = 0.0
    delay_unit: int = 1
    lost_carrier: str | None = None

    def read(self, flight: Flight) -> Flight:
        """The flight as this version's server hands it to its model."""
        if flight.carrier == self.lost_carrier:
            return flight._replace(dep_delay=0)
        return flight._replace(dep_delay=flight.dep_delay // self.delay_unit)


V2 = Build(Recipe.EVERYTHING)
BUILDS: Mapping[str, Build] = {
    "v1": Build(Recipe.HOUR_AND_PUNCTUALITY),
    "v2": V2,
    # The mistake of v3: it believes that every request says when the plane was built.
    "v3": replace(V2, absent={name: value for name, value in ABSENT.items() if name != "built"}),
    "v4": replace(V2, wait_s=0.06),
    "v5": replace(V2, from_month=2),
    # The mistake of v6: a model of minutes gets hours. That of v7: one carrier's delays no longer arrive.
    "v6": replace(V2, delay_unit=60),
    "v7": replace(V2, lost_carrier="MQ"),
}


class BadRequest(Exception):
    """The body is not a request this model can answer; the text says why."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer to the client, apart from the HTTP around it."""

    status: int
    document: Mapping[str, object]


class ModelServer:
    """One version's ASGI application."""

    def __init__(self, version: str, build: Build, model: LateModel) -> None:
        self._version = version
        self._build = build
        self._model = model
        self._label = (b"x-model-version", version.encode())

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        answer = await self._answer(scope["method"], scope["path"], receive)
        body = orjson.dumps(answer.document)
        length = (b"content-length", str(len(body)).encode())
        headers = [(b"content-type", b"application/json"), length, self._label]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    async def _answer(self, method: str, path: str, receive: Receive) -> Answer:
        if path == f"/v2/models/{MODEL}/infer":
            return await self._infer(method, receive)
        document = self._documents().get(path)
        if document is None:
            return _error(404, f"nothing is served at {path}")
        return Answer(200, document) if method in {"GET", "HEAD"} else _error(405, "this path is only read")

    def _documents(self) -> Mapping[str, Mapping[str, object]]:
        return {
            "/v2": {"name": "turnback-demo", "version": self._version, "extensions": []},
            "/v2/health/live": {"live": True},
            "/v2/health/ready": {"ready": True},
            f"/v2/models/{MODEL}": _metadata(self._version),
            f"/v2/models/{MODEL}/ready": {"name": MODEL, "ready": True},
        }

    async def _infer(self, method: str, receive: Receive) -> Answer:
        if method != "POST":
            return _error(405, "inference is asked for by POST")
        try:
            request = _parsed(await _body(receive))
            tensors = _tensors(request)
        except BadRequest as problem:
            return _error(400, str(problem))
        if self._build.wait_s:
            await asyncio.sleep(self._build.wait_s)
        try:
            flights = _flights(tensors, self._build.absent)
        except KeyError as missing:
            return _error(500, f"KeyError: {missing}")
        chances = [self._model.probability(self._build.read(flight)) for flight in flights]
        return Answer(200, self._outputs(request, chances))

    def _outputs(self, request: Mapping[str, object], chances: Sequence[float]) -> Mapping[str, object]:
        output = {"name": "late_probability", "shape": [len(chances)], "datatype": "FP64", "data": chances}
        answer: dict[str, object] = {"model_name": MODEL, "model_version": self._version, "outputs": [output]}
        return {"id": request["id"], **answer} if "id" in request else answer


async def _body(receive: Receive) -> bytes:
    body = b""
    more = True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > MAX_BODY:
            raise BadRequest(f"the body is larger than {MAX_BODY} bytes")
    return body


def _parsed(body: bytes) -> Mapping[str, Any]:
    try:
        request = orjson.loads(body)
    except orjson.JSONDecodeError as problem:
        raise BadRequest(f"the body is not JSON: {problem}") from None
    if not isinstance(request, dict) or not isinstance(request.get("inputs"), list):
        raise BadRequest("inputs: a list of tensors is required")
    return request


def _tensors(request: Mapping[str, Any]) -> Tensors:
    tensors: dict[str, Sequence[Any]] = {}
    for given in request["inputs"]:
        if not isinstance(given, dict) or given.get("name") not in Flight._fields:
            raise BadRequest("inputs: a tensor has no name this model knows")
        tensors[given["name"]] = _tensor(given)
    missing = [name for name in Flight._fields if name not in tensors and name not in ABSENT]
    if missing:
        raise BadRequest(f"inputs: {', '.join(missing)} missing")
    if len({len(tensor) for tensor in tensors.values()}) != 1:
        raise BadRequest("inputs: all tensors must have one length")
    return tensors


def _tensor(given: Mapping[str, Any]) -> Sequence[Any]:
    name, data = given["name"], given.get("data")
    datatypes, fits = ({"BYTES"}, _is_text) if name in CODES else (INTEGERS, _is_within(*RANGES.get(name, ANY)))
    if given.get("datatype") not in datatypes or not isinstance(data, list):
        raise BadRequest(f"{name}: data and a datatype of {', '.join(sorted(datatypes))} are required")
    if given.get("shape") != [len(data)] or not data:
        raise BadRequest(f"{name}: shape must be [{max(1, len(data))}]")
    if not all(map(fits, data)):
        raise BadRequest(f"{name}: a value is not of its datatype or out of range")
    return data


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_within(low: int, high: int) -> Callable[[object], bool]:
    return lambda value: type(value) is int and low <= value <= high


def _flights(tensors: Tensors, absent: Mapping[str, int]) -> Iterator[Flight]:
    """The flights of a request. Raises: KeyError when an input is left out that nothing stands for."""
    length = len(tensors["month"])
    columns = [tensors[name] if name in tensors else [absent[name]] * length for name in Flight._fields]
    return map(Flight, *columns)


def _metadata(version: str) -> Mapping[str, object]:
    inputs = [
        {"name": name, "datatype": "BYTES" if name in CODES else "INT32", "shape": [-1]} for name in Flight._fields
    ]
    outputs = [_described("late_probability", "FP64")]
    return {"name": MODEL, "versions": [version], "platform": "numpy", "inputs": inputs, "outputs": outputs}


def _described(name: str, datatype: str) -> Mapping[str, object]:
    return {"name": name, "datatype": datatype, "shape": [-1]}


def _error(status: int, why: str) -> Answer:
    return Answer(status, {"error": why})


def _arguments(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m app.demo.model_server", description=__doc__)
    parser.add_argument("--version", choices=sorted(BUILDS), required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes any free port; the ready line says which")
    return parser.parse_args(arguments)


def _listening(host: str, port: int) -> socket.socket:
    listener = socket.create_server((host, port), backlog=1024)
    listener.setblocking(False)
    return listener


def main(arguments: Sequence[str]) -> int:
    """Train, listen, print one ready line of JSON with the port and the model's quality, serve."""
    wanted = _arguments(arguments)
    build = BUILDS[wanted.version]
    model = train(build.recipe, training_months().months(build.from_month, 3))
    try:
        listener = _listening(wanted.host, wanted.port)
    except OSError as problem:
        sys.stderr.write(f"model server {wanted.version} cannot listen on {wanted.host}:{wanted.port}: {problem}\n")
        return 1
    ready = {
        "ready": True,
        "version": wanted.version,
        "port": listener.getsockname()[1],
        "quality": asdict(quality(model, build.read, replay_months())),
    }
    sys.stdout.write(orjson.dumps(ready).decode() + "\n")
    sys.stdout.flush()
    config = uvicorn.Config(
        ModelServer(wanted.version, build, model),
        loop="uvloop",
        http="httptools",
        lifespan="off",
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=2,
    )
    uvicorn.Server(config).run(sockets=[listener])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
