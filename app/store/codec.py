"""Domain values as JSON and back, every float bit for bit."""

import json
from collections.abc import Mapping
from functools import cache

from pydantic import TypeAdapter
from pydantic_core import to_json

from app.domain.catalog import VersionName
from app.domain.rollout import Rollout
from app.domain.routing import Weights


@cache
def _rollout() -> TypeAdapter[Rollout]:
    return TypeAdapter(Rollout)


def dump_json(value: object) -> str:
    """Any domain value as JSON text; infinities and NaN as strings, as JSON has no numbers for them."""
    return to_json(value, inf_nan_mode="strings").decode()


def rollout_from_json(state: object) -> Rollout:
    """The rollout that `dump_json` wrote. Raises: pydantic.ValidationError."""
    return _rollout().validate_json(json.dumps(state))


def weights_from_json(weights_bp: Mapping[str, int]) -> Weights:
    """Weights as stored."""
    return {VersionName(name): weight_bp for name, weight_bp in weights_bp.items()}
