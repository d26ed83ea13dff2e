"""What a platform team registers: models, their versions, how requests find them."""

import re
from dataclasses import dataclass
from typing import NewType

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
class Model:
    """What a client asks for by name.

    Attributes:
        match: Extra ways to find it, or None.
        sticky_header: Request header whose value keeps a caller on one arm, lower case, or None.
    """

    name: ModelName
    match: Match | None = None
    sticky_header: str | None = None


@dataclass(frozen=True, slots=True)
class Version:
    """One immutable build of a model.

    Attributes:
        url: Base address of its model server, `http://host:port[/base]`, no trailing slash.
        health_path: Path under `url` that answers 2xx when the server is ready, or None: then a
            probe only connects.
    """

    model: ModelName
    name: VersionName
    url: str
    timeouts: Timeouts = Timeouts()
    health_path: str | None = None


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
