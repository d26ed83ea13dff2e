"""Ids of exchanges: nothing in them can be foretold, and only who has the secret knows one again."""

from itertools import pairwise
from math import sqrt
from secrets import token_hex

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.catalog.exchange_id import BATCH_IDS, IdKey, is_id
from app.domain.catalog.receipt import ReceiptKey
from app.proxy.http1.receipts import Receipts

KEY = ReceiptKey.of(b"a secret of the tests, long enough")
MANY = 100_000
# Of a normal variable, one draw in two million is further away.
Z_MAX = 5.0


def ids(gateway: Receipts, count: int) -> list[str]:
    return [gateway.new_exchange().decode() for _ in range(count)]


def runs_z(above: list[bool]) -> float:
    """How far the number of runs is from that of a shuffled series (Wald and Wolfowitz 1940), in deviations."""
    n, ones = len(above), sum(above)
    runs = 1 + sum(left != right for left, right in pairwise(above))
    expected = 1 + 2 * ones * (n - ones) / n
    return (runs - expected) / sqrt((expected - 1) * (expected - 2) / (n - 1))


def correlation_z(numbers: list[int], lag: int) -> float:
    """Serial correlation, in deviations of an unordered series."""
    series = np.array([number / 2**128 for number in numbers]) - 0.5
    return float(np.corrcoef(series[:-lag], series[lag:])[0, 1]) * sqrt(len(numbers) - lag)


def bit_z(numbers: list[int]) -> float:
    """Of all 128 bits the one that is set most unevenly, in deviations."""
    n = len(numbers)
    counts = (sum(number >> bit & 1 for number in numbers) for bit in range(128))
    return max(abs(count - n / 2) / sqrt(n / 4) for count in counts)


@pytest.mark.parametrize("key", [KEY, None], ids=["a fixed key", "a key of its own"])
def test_a_hundred_thousand_ids_have_no_prefix_and_no_order(key: ReceiptKey | None) -> None:
    made = ids(Receipts(key), MANY)
    numbers = [int(each, 16) for each in made]
    median = sorted(numbers)[MANY // 2]
    runs = runs_z([number >= median for number in numbers])
    rises = sum(left < right for left, right in pairwise(numbers))
    rises_z = (rises - (MANY - 1) / 2) / sqrt((MANY + 1) / 12)
    serial = {lag: correlation_z(numbers, lag) for lag in (1, 2, 3, BATCH_IDS)}
    print(f"runs z {runs:.2f}, rises z {rises_z:.2f}, serial z {serial}, bits z {bit_z(numbers):.2f}")  # noqa: T201
    assert all(map(is_id, made))
    assert len(set(made)) == MANY
    # Each of the sixteen first digits begins one in sixteen, so that nothing is shared by all or by neighbours.
    assert {each[0] for each in made[:BATCH_IDS]} == set("0123456789abcdef")
    assert max(map(abs, (runs, rises_z, *serial.values(), bit_z(numbers)))) < Z_MAX


def test_a_count_is_ordered_and_would_be_found_out() -> None:
    """The measure itself: what ids were before."""
    prefix = token_hex(8)
    numbers = [int(f"{prefix}{count:016x}", 16) for count in range(MANY)]
    median = sorted(numbers)[MANY // 2]
    assert abs(runs_z([number >= median for number in numbers])) > 100
    assert bit_z(numbers) > 100


def test_two_processes_of_one_key_and_two_lives_of_one_process_share_no_id() -> None:
    made = [each for _ in range(4) for each in ids(Receipts(KEY), MANY // 4)]
    assert len(set(made)) == MANY


def test_who_has_the_key_reads_which_one_it_is_and_nobody_else() -> None:
    key = IdKey(KEY)
    batch = [each.decode() for each in key.batch(2**70 + 7)]
    first = (2**70 + 7) * BATCH_IDS
    assert [key.opened(each) for each in batch] == list(range(first, first + BATCH_IDS))
    other = IdKey(ReceiptKey.of(b"another secret of the tests, long"))
    assert [other.opened(each) for each in batch] == [None] * BATCH_IDS


@given(st.integers(0, 2**128 - 1))
def test_an_id_that_was_invented_is_none(number: int) -> None:
    assert IdKey(KEY).opened(f"{number:032x}") is None


@given(st.integers(0, BATCH_IDS - 1), st.integers(0, 127))
def test_an_id_with_one_bit_changed_is_none(place: int, bit: int) -> None:
    key = IdKey(KEY)
    given = int(key.batch(9)[place], 16)
    assert key.opened(f"{given ^ 1 << bit:032x}") is None


@given(st.text(max_size=40) | st.from_regex(r"[0-9A-F-]{32,36}", fullmatch=True))
def test_what_does_not_look_like_an_id_is_none(name: str) -> None:
    assert is_id(name) is (len(name) == 32 and set(name) <= set("0123456789abcdef"))
    if not is_id(name):
        assert IdKey(KEY).opened(name) is None


def test_what_a_process_has_not_given_yet_is_ahead_of_it_alone() -> None:
    gateway, other, key = Receipts(KEY), Receipts(KEY), IdKey(KEY)

    def number(gateway: Receipts) -> int:
        opened = key.opened(gateway.new_exchange().decode())
        assert opened is not None
        return opened

    given = [number(gateway) for _ in range(BATCH_IDS + 3)]
    assert given == list(range(given[0], given[0] + len(given)))
    assert not any(map(gateway.is_ahead, given))
    assert gateway.is_ahead(given[-1] + 1)
    assert gateway.is_ahead(given[-1] + 10**9)
    assert not gateway.is_ahead(given[0] - 1)
    assert not gateway.is_ahead(number(other))
    assert number(gateway) == given[-1] + 1
    assert not gateway.is_ahead(given[-1] + 1)
