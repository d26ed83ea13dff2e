"""A decision made again: what it was made from, judged anew, beside what is stored of it.

Rule: values are compared to the last bit; a value that only one side has is a difference too.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from app.domain.catalog.routing import FULL_BP, Weights
from app.domain.rollout.rollout import Effect, MakeStable, Rollout, ShiftWeight


@dataclass(frozen=True, slots=True)
class Difference:
    """One value that does not come out as it is stored.

    Attributes:
        name: JSON pointer (RFC 6901) into the document that was compared.
        stored, recomputed: JSON values; None where a side has nothing.
    """

    name: str
    stored: object
    recomputed: object


def differences(stored: object, recomputed: object, name: str = "") -> Iterator[Difference]:
    """Every value of two JSON documents that is not the same, in the stored one's order."""
    if isinstance(stored, Mapping) and isinstance(recomputed, Mapping):
        yield from _in_objects(stored, recomputed, name)
    elif isinstance(stored, list) and isinstance(recomputed, list) and len(stored) == len(recomputed):
        for place, (left, right) in enumerate(zip(stored, recomputed, strict=True)):
            yield from differences(left, right, f"{name}/{place}")
    elif not _is_same(stored, recomputed):
        yield Difference(name, stored, recomputed)


def _in_objects(stored: Mapping[str, object], recomputed: Mapping[str, object], name: str) -> Iterator[Difference]:
    for member in (*stored, *(member for member in recomputed if member not in stored)):
        place = f"{name}/{member.replace('~', '~0').replace('/', '~1')}"
        if member in stored and member in recomputed:
            yield from differences(stored[member], recomputed[member], place)
        else:
            yield Difference(place, stored.get(member), recomputed.get(member))


def weights_after(rollout: Rollout, effects: Sequence[Effect], before: Weights) -> Weights:
    """The weights that the effects leave behind."""
    weights = before
    for effect in effects:
        match effect:
            case ShiftWeight(canary_bp):
                weights = {rollout.stable: FULL_BP - canary_bp, rollout.canary: canary_bp}
            case MakeStable(version, standby_bp):
                other = rollout.stable if version == rollout.canary else rollout.canary
                weights = {version: FULL_BP - standby_bp, other: standby_bp}
    return {version: share for version, share in weights.items() if share > 0}


def _is_same(left: object, right: object) -> bool:
    """Equal values of one kind. A float without a fraction may come back from a JSON column as an integer."""
    if isinstance(left, float) and type(right) is int:
        return left == _as_float(right)
    if isinstance(right, float) and type(left) is int:
        return _as_float(left) == right
    return type(left) is type(right) and left == right


def _as_float(whole: int) -> float | None:
    try:
        return float(whole)
    except OverflowError:
        return None
