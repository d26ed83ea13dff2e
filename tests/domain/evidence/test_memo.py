"""Remembered answers are those of the very same object, and of the same question."""

from dataclasses import dataclass, field

from app.domain.evidence.memo import once_per_evidence


@dataclass(frozen=True)
class Seen:
    """Evidence as it is: frozen, and not hashable for what it holds."""

    counts: dict[int, int] = field(default_factory=dict)


def test_the_same_object_and_question_are_computed_once_and_others_anew() -> None:
    asked = []

    @once_per_evidence
    def total(seen: Seen, factor: int) -> int:
        asked.append((id(seen), factor))
        return factor * sum(seen.counts.values())

    first, equal = Seen({1: 2}), Seen({1: 2})
    assert [total(first, 3), total(first, 3), total(first, factor=3)] == [6, 6, 6]
    assert total(first, 4) == 8
    assert total(equal, 3) == 6
    assert asked.count((id(first), 3)) <= 2
    assert (id(first), 4) in asked
    assert (id(equal), 3) in asked


def test_an_object_that_is_remembered_stays_so_that_no_other_takes_its_place() -> None:
    @once_per_evidence
    def total(seen: Seen) -> int:
        return sum(seen.counts.values())

    # If only the address were kept, a later object at the same address would get the earlier one's answer.
    assert [total(Seen({1: number})) for number in range(500)] == list(range(500))
