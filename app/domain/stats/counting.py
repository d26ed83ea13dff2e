"""Sparse counts that add."""

from collections.abc import Mapping
from typing import TypeVar

_K = TypeVar("_K")


def add_counts(left: Mapping[_K, int], right: Mapping[_K, int]) -> Mapping[_K, int]:
    """Sum two sparse count maps."""
    if not right:
        return left
    total = dict(left)
    for key, count in right.items():
        total[key] = total.get(key, 0) + count
    return total
