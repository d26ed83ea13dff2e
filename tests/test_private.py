"""A private folder: what is made, what is taken as it is, and what is refused with the words to type."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.other_user import as_user, needs_root

from app import private
from app.private import NotPrivate


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder in which everybody may make something, as in the temporary one."""
    folder = Path(tempfile.mkdtemp(prefix="turnback-"))
    folder.chmod(0o1777)
    yield folder
    shutil.rmtree(folder)


def mode(path: Path) -> int:
    return path.lstat().st_mode & 0o7777


def test_a_folder_and_its_parents_are_made_for_this_user_alone(tmp_path: Path) -> None:
    before = mode(tmp_path)
    private.make_folder(tmp_path / "a" / "b")
    private.make_folder(tmp_path / "a" / "b")
    assert [mode(tmp_path / "a"), mode(tmp_path / "a" / "b"), mode(tmp_path)] == [0o700, 0o700, before]


def test_a_group_may_pass_through_what_is_made_and_not_through_what_is_there(tmp_path: Path) -> None:
    private.make_folder(tmp_path / "there")
    private.make_folder(tmp_path / "there" / "new", group=os.getegid())
    assert [mode(tmp_path / "there"), mode(tmp_path / "there" / "new")] == [0o700, 0o710]


@pytest.mark.parametrize("bits", [0o770, 0o702, 0o1777])
def test_a_folder_that_others_may_write_to_is_refused_and_not_closed(tmp_path: Path, bits: int) -> None:
    folder = tmp_path / "open to all"
    folder.mkdir()
    folder.chmod(bits)
    with pytest.raises(NotPrivate, match="chmod go-w '"):
        private.make_folder(folder)
    assert mode(folder) == bits


def test_a_folder_that_others_may_read_stays_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "readable"
    folder.mkdir()
    folder.chmod(0o755)
    private.make_folder(folder)
    assert mode(folder) == 0o755


def test_a_link_of_ones_own_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    private.make_folder(tmp_path / "link")


@needs_root
def test_a_folder_that_a_stranger_made_is_refused(shared: Path) -> None:
    folder = shared / "state"
    assert as_user("nobody", lambda: folder.mkdir(mode=0o700)) == "None"
    with pytest.raises(NotPrivate, match="belongs to nobody"):
        private.make_folder(folder)


@needs_root
def test_a_strangers_link_to_ones_own_folder_is_refused(shared: Path, tmp_path: Path) -> None:
    link = shared / "state"
    assert as_user("nobody", lambda: link.symlink_to(tmp_path)) == "None"
    with pytest.raises(NotPrivate, match="link that nobody made"):
        private.make_folder(link)


def test_a_file_is_made_for_this_user_alone_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        os.close(private.open_file(tmp_path / "key", os.O_WRONLY | os.O_CREAT))
    finally:
        os.umask(before)
    assert mode(tmp_path / "key") == 0o600


def test_an_own_file_that_others_may_read_is_closed_to_them(tmp_path: Path) -> None:
    (tmp_path / "old").write_text("kept")
    (tmp_path / "old").chmod(0o644)
    with os.fdopen(private.open_file(tmp_path / "old", os.O_RDONLY)) as file:
        assert file.read() == "kept"
    assert mode(tmp_path / "old") == 0o600


def test_a_link_is_not_taken_for_a_file(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("kept")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    with pytest.raises(OSError, match="symbolic"):
        private.open_file(tmp_path / "link", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    assert (tmp_path / "target").read_text() == "kept"


@needs_root
def test_a_file_that_a_stranger_made_is_refused(shared: Path) -> None:
    assert as_user("nobody", (shared / "lock").touch) == "None"
    # The kernel itself may refuse that in a folder like the temporary one (fs.protected_regular), or else we do.
    with pytest.raises(PermissionError):
        private.open_file(shared / "lock", os.O_RDWR | os.O_CREAT)
    with pytest.raises(NotPrivate, match="belongs to nobody"):
        private.open_file(shared / "lock", os.O_RDWR)


def test_what_is_no_file_is_refused() -> None:
    with pytest.raises(NotPrivate, match="not a file"):
        private.open_file(Path("/dev/null"), os.O_RDWR)
