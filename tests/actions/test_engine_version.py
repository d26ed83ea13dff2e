"""The engine's fingerprint sees every source that decides, however deep it lies."""

import shutil
from pathlib import Path

import pytest

from app import domain
from app.actions.engine_version import ENGINE_VERSION, fingerprint

DECIDES = Path(domain.__path__[0])


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A copy of the domain with one more file, deep down."""
    copied = tmp_path / "domain"
    shutil.copytree(DECIDES, copied)
    (copied / "deep" / "down").mkdir(parents=True)
    (copied / "deep" / "down" / "limit.py").write_bytes(b"LIMIT = 1\n")
    return copied


def test_the_version_holds_the_fingerprint_of_the_domain() -> None:
    assert ENGINE_VERSION.endswith(f"+{fingerprint(DECIDES)}")


def test_one_byte_deep_down_makes_another_engine(sources: Path) -> None:
    before = fingerprint(sources)
    (sources / "deep" / "down" / "limit.py").write_bytes(b"LIMIT = 2\n")
    assert fingerprint(sources) != before


def test_a_source_that_moves_makes_another_engine(sources: Path) -> None:
    before = fingerprint(sources)
    (sources / "deep" / "down" / "limit.py").rename(sources / "deep" / "limit.py")
    assert fingerprint(sources) != before


def test_bytes_that_move_from_one_file_to_the_next_make_another_engine(tmp_path: Path) -> None:
    for folder, parts in (("one", (b"ab", b"c")), ("two", (b"a", b"bc"))):
        (tmp_path / folder).mkdir()
        for name, part in zip(("x.py", "y.py"), parts, strict=True):
            (tmp_path / folder / name).write_bytes(part)
    assert fingerprint(tmp_path / "one") != fingerprint(tmp_path / "two")


def test_what_is_no_source_does_not_count(sources: Path) -> None:
    before = fingerprint(sources)
    (sources / "deep" / "notes.txt").write_text("nothing")
    assert fingerprint(sources) == before
