"""Domain values as JSON and back, every float bit for bit."""

import json
import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any
from uuid import UUID

import pydantic_core
from pydantic import TypeAdapter

from app.domain.catalog.declarations import Credentials, Feature, Feedback, SliceKey
from app.domain.catalog.models import VersionName
from app.domain.catalog.routing import Weights
from app.domain.evidence.observed import Observed
from app.domain.rollout.evaluation import Sight
from app.domain.rollout.rollout import Rollout
from app.domain.standby.monitor import Watch
from app.domain.stats.histogram import Spread
from app.store.pg.earlier import rollout_of_today, sight_of_today

# An escaped NUL, and not an escaped backslash before what only looks like one.
_NUL = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")


@cache
def _rollout() -> TypeAdapter[Rollout]:
    return TypeAdapter(Rollout)


@cache
def _sight() -> TypeAdapter[Sight]:
    return TypeAdapter(Sight)


@cache
def _watch() -> TypeAdapter[Watch]:
    return TypeAdapter(Watch)


def to_json(value: object) -> str:
    """Any domain value as JSON text; infinities and NaN as strings, as JSON has no numbers for them."""
    return pydantic_core.to_json(value, inf_nan_mode="strings").decode()


def to_jsonb(value: object) -> str:
    """The same for a jsonb column, which takes neither NUL nor half a surrogate pair, whatever was sent."""
    try:
        document = to_json(value)
    except pydantic_core.PydanticSerializationError:
        document = to_json(_encodable(value))
    return _NUL.sub(r"\1\\ufffd", document) if "\\u0000" in document else document


def _encodable(value: object) -> object:
    """The same members, with what is no character replaced."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, Mapping):
        return {_encodable(key): _encodable(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_encodable(inner) for inner in value]
    if is_dataclass(value):
        return {each.name: _encodable(getattr(value, each.name)) for each in fields(value)}
    return value


def as_json(value: object) -> Any:  # noqa: ANN401 -- JSON's own types, whatever they are
    """A domain value as it will be read back out of a JSON column."""
    return json.loads(to_json(value))


def rollout_from_json(state: str) -> Rollout:
    """The rollout that `to_json` wrote. Raises: pydantic.ValidationError."""
    return _rollout().validate_json(state)


def rollout_of_decision(document: object) -> Rollout:
    """The rollout that a decision keeps. Raises: ValueError."""
    return rollout_from_json(json.dumps(rollout_of_today(document)))


def sight_of_decision(document: object) -> Sight:
    """What a decision was made from. Raises: ValueError."""
    return _sight().validate_json(json.dumps(sight_of_today(document)))


def watch_from_json(state: str) -> Watch:
    """The watch that `to_json` wrote. Raises: pydantic.ValidationError."""
    return _watch().validate_json(state)


@cache
def _adapter(of: Any) -> TypeAdapter[Any]:  # noqa: ANN401 -- any type pydantic knows
    return TypeAdapter(of)


def feedback_from_json(stored: object) -> Feedback:
    """How labels come back, as stored."""
    feedback: Feedback = _adapter(Feedback).validate_python(stored)
    return feedback


def slices_from_json(stored: object) -> tuple[SliceKey, ...]:
    """By what traffic is cut, as stored."""
    slices: tuple[SliceKey, ...] = _adapter(tuple[SliceKey, ...]).validate_python(stored)
    return slices


def features_from_json(stored: object) -> tuple[Feature, ...]:
    """The inputs that are watched, as stored."""
    features: tuple[Feature, ...] = _adapter(tuple[Feature, ...]).validate_python(stored)
    return features


def credentials_from_json(stored: object) -> Credentials:
    """What a version was registered with, as stored."""
    credentials: Credentials = _adapter(Credentials).validate_python(stored)
    return credentials


def observed_from_json(stored: object) -> Observed:
    """What was read of one arm, as stored."""
    observed: Observed = _adapter(Observed).validate_python(stored)
    return observed


def spread_from_json(stored: object) -> Spread:
    """One arm's distributions, as stored."""
    spread: Spread = _adapter(Spread).validate_python(stored)
    return spread


def weights_from_json(weights_bp: Mapping[str, int]) -> Weights:
    """Weights as stored."""
    return {VersionName(name): weight_bp for name, weight_bp in weights_bp.items()}


def uuid_or_none(text: str) -> UUID | None:
    """The id in this text, None if there is none in it."""
    try:
        return UUID(text)
    except ValueError:
        return None
