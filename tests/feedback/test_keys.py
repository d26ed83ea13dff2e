"""Secrets: which are taken, which refuse the start, and how the one of an embedded process is kept."""

from pathlib import Path

import pytest

from app.domain.catalog.receipt import ReceiptKey
from app.domain.evidence.labels import ANONYMOUS
from app.errors import CannotServe
from app.feedback.keys import receipt_keys, sources

FIRST, SECOND, TOKEN = (letter * length for letter, length in (("a", 32), ("b", 40), ("t", 16)))


def test_the_first_of_several_secrets_signs_and_all_are_known(tmp_path: Path) -> None:
    keys = receipt_keys(f"{FIRST}, {SECOND}", tmp_path, embedded=False)
    assert keys == (ReceiptKey.of(FIRST.encode()), ReceiptKey.of(SECOND.encode()))
    assert list(tmp_path.iterdir()) == []


def test_an_embedded_process_makes_a_secret_and_keeps_it_to_itself(tmp_path: Path) -> None:
    state = tmp_path / "state"
    first = receipt_keys(None, state, embedded=True)
    assert receipt_keys(None, state, embedded=True) == first
    assert receipt_keys(None, tmp_path / "other", embedded=True) != first
    (file,) = state.iterdir()
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("said", [None, "short", f"{FIRST},short", f"{FIRST},", ","])
def test_without_a_secret_or_with_a_short_one_a_process_refuses_to_start(said: str | None, tmp_path: Path) -> None:
    with pytest.raises(CannotServe, match="TURNBACK_SECRET_KEY") as refused:
        receipt_keys(said, tmp_path, embedded=False)
    assert FIRST not in str(refused.value)


def test_a_kept_secret_that_is_none_is_said_and_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "receipt.key").write_text("")
    with pytest.raises(CannotServe, match="delete it"):
        receipt_keys(None, tmp_path, embedded=True)


@pytest.mark.parametrize(
    "said", ["ann", f":{TOKEN}", "ann:short", f"ann:{TOKEN},ann:{TOKEN}x", f"{ANONYMOUS}:{TOKEN}", f"ann:{TOKEN},"]
)
def test_sources_that_are_none_refuse_the_start_without_being_shown(said: str) -> None:
    with pytest.raises(CannotServe, match="TURNBACK_FEEDBACK_KEYS") as refused:
        sources(said)
    assert TOKEN not in str(refused.value)


def test_a_source_is_known_by_its_whole_token_only() -> None:
    known = sources(f"ann:{TOKEN}, bob:{TOKEN}:x")
    assert known.of(f"Bearer {TOKEN}") == "ann"
    assert known.of(f"bearer  {TOKEN}:x ") == "bob"
    for header in (
        None,
        "",
        "Bearer",
        "Bearer ",
        f"Basic {TOKEN}",
        f"Bearer {TOKEN[:-1]}",
        f"Bearer {TOKEN}y",
        "Bearer é",
    ):
        assert known.of(header) is None
    assert sources(None).of(None) == ANONYMOUS
