"""What a platform team registers: models, their versions, how requests find them."""

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NewType

from app.domain.catalog.declarations import Credentials, Feature, Feedback, SliceKey
from app.errors import InvalidInput

ModelName = NewType("ModelName", str)
VersionName = NewType("VersionName", str)

# One path segment that needs no escaping anywhere a name travels: URL, label, log line.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long the gateway waits for a version, in seconds; each >= 0.1."""

    connect_s: float = 2.0
    first_byte_s: float = 30.0
    idle_s: float = 30.0
    total_s: float = 300.0


class Protocol(StrEnum):
    """What a model's servers speak: decides how they are probed and how their answers are read."""

    AUTO = "auto"  # told from the path of each request; probed by a connection
    KSERVE_V1 = "kserve_v1"
    OIP_V2 = "oip_v2"  # Open Inference Protocol: Triton, MLServer, KServe
    TF_SERVING = "tf_serving"
    TORCHSERVE = "torchserve"
    MLFLOW = "mlflow"  # SageMaker containers too
    OPENAI = "openai"
    ANTHROPIC = "anthropic"
    BENTOML = "bentoml"
    RAW = "raw"


@dataclass(frozen=True, slots=True)
class Bulkhead:
    """How much of a gateway process one version may hold.

    Attributes:
        concurrency: Exchanges under way at once.
        queue: Exchanges that may wait for one of those to end; beyond, a client is sent away.
    """

    concurrency: int = 1024
    queue: int = 1024


@dataclass(frozen=True, slots=True)
class Match:
    """Where a model is found beside the paths recognised without configuration.

    Attributes:
        host: Host header without port, lower case; None matches every host.
        path_prefix: Starts with "/", forwarded unchanged; "/" matches every path.
    """

    host: str | None = None
    path_prefix: str | None = None


@dataclass(frozen=True, slots=True)
class Observation:
    """What is read from a copy of a model's answers, after they were sent.

    Attributes:
        prediction, score: JSON pointers (RFC 6901) into the answer; None leaves it to the protocol.
        sample_bp: Share of the answers that are read, in basis points.
    """

    prediction: str | None = None
    score: str | None = None
    sample_bp: int = 10_000


@dataclass(frozen=True, slots=True)
class Model:
    """What a client asks for by name.

    Attributes:
        match: Extra ways to find it, or None.
        sticky_header, sticky_cookie: Request header (lower case) or cookie whose value keeps a caller
            on one arm; at most one of the two, or None.
        observation: What is read from its answers; None reads nothing.
        takes_invocations: Whether `/invocations` without a model's name is meant for it; one model at most.
        feedback: How labels come back; None takes none.
        slices: By what its traffic is cut; names differ.
        features: Inputs whose distribution is watched; names differ.
    """

    name: ModelName
    match: Match | None = None
    sticky_header: str | None = None
    sticky_cookie: str | None = None
    protocol: Protocol = Protocol.AUTO
    observation: Observation | None = None
    takes_invocations: bool = False
    feedback: Feedback | None = None
    slices: tuple[SliceKey, ...] = ()
    features: tuple[Feature, ...] = ()

    @property
    def is_sticky(self) -> bool:
        """Whether callers keep their arm."""
        return self.sticky_header is not None or self.sticky_cookie is not None


@dataclass(frozen=True, slots=True)
class Version:
    """One immutable build of a model.

    Attributes:
        urls: Base addresses of its model servers, `http[s]://host:port[/base]`, no trailing slash; at least one.
        health_path: Path under each url that answers 2xx when the server is ready; None leaves it to the
            model's protocol, see `probe_path`.
        path: What stands for the part of a request's path that named the model, such as
            `/v2/models/fraud/versions/7`; None forwards the path as it came.
        served_model: The `model` this version's servers know in an OpenAI-style body; None leaves the body alone.
        server_name: The name an https upstream's certificate must have; None takes the url's host.
        credentials: Its offline evaluation, prices, signature and training distribution.
    """

    model: ModelName
    name: VersionName
    urls: tuple[str, ...]
    timeouts: Timeouts = Timeouts()
    health_path: str | None = None
    bulkhead: Bulkhead = Bulkhead()
    path: str | None = None
    served_model: str | None = None
    server_name: str | None = None
    credentials: Credentials = field(default_factory=Credentials)


_PROBED = {
    Protocol.KSERVE_V1: "/v1/models/{model}",
    Protocol.OIP_V2: "/v2/health/ready",
    Protocol.TF_SERVING: "/v1/models/{model}",
    Protocol.TORCHSERVE: "/ping",
    Protocol.MLFLOW: "/ping",
    Protocol.OPENAI: "/health",
    Protocol.BENTOML: "/readyz",
}


def probe_path(protocol: Protocol, version: Version) -> str | None:
    """The path that says whether a version's server is ready; None when a connection has to do."""
    if version.health_path is not None:
        return version.health_path
    path = _PROBED.get(protocol)
    return None if path is None else path.format(model=version.model)


def model_name(text: str, field: str = "/name") -> ModelName:
    """Check a model's name. Raises: InvalidInput."""
    return ModelName(_checked(text, field))


def version_name(text: str, field: str = "/name") -> VersionName:
    """Check a version's name. Raises: InvalidInput."""
    return VersionName(_checked(text, field))


def _checked(text: str, field: str) -> str:
    if _NAME.fullmatch(text) is None:
        raise InvalidInput(field, "1 to 63 letters, digits, '.', '_' or '-', the first a letter or digit")
    return text
