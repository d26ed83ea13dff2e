"""How peers are found, started and ended; with a program of the standard library in the place of theirs."""

import sys
from pathlib import Path

import pytest
from servers import peers
from servers.peers import WANTED, Peer, running

from bench.environments import EnvironmentUnavailable

SERVER = """
import http.server, multiprocessing, sys, time

def linger():
    time.sleep(60)

if __name__ == "__main__":
    worker = multiprocessing.Process(target=linger)
    worker.start()
    print("worker", worker.pid, flush=True)
    address = ("127.0.0.1", int(sys.argv[2]))
    http.server.ThreadingHTTPServer(address, http.server.SimpleHTTPRequestHandler).serve_forever()
"""


class Ours(Peer):
    """A peer that needs nothing but this Python."""

    def python(self) -> Path:
        return Path(sys.executable)


def program(folder: Path, source: str) -> Peer:
    path = folder / "program.py"
    path.write_text(source)
    return Ours("ours", ("ours==1",), str(path), "/")


def is_alive(pid: int) -> bool:
    """Whether the process runs; one that only waits to be reaped does not (proc_pid_stat(5))."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_server_ends_with_all_its_workers(tmp_path: Path) -> None:
    with running(program(tmp_path, SERVER), tmp_path) as server:
        worker = int(server.log.read_text().split()[1])
        assert is_alive(worker)
    assert server.process.returncode is not None
    assert not is_alive(worker)


def test_a_server_that_ends_at_once_says_why(tmp_path: Path) -> None:
    with (
        pytest.raises(AssertionError, match=r"ours 1 ended: .*no such model"),
        running(program(tmp_path, "raise SystemExit('no such model')"), tmp_path),
    ):
        pytest.fail("it started")


def test_a_peer_that_is_not_there_is_skipped_with_the_way_to_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv(WANTED, "another")
    with pytest.raises(pytest.skip.Exception, match=f"absent 1 is not there: `{WANTED}=name"):
        Peer("name", ("absent==1",), "", "").python()


def test_a_wanted_peer_that_cannot_be_had_is_skipped_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str, requirements: object) -> Path:
        raise EnvironmentUnavailable("no such version")

    monkeypatch.setattr(peers, "environment", refuse)
    monkeypatch.setenv(WANTED, "name")
    with pytest.raises(pytest.skip.Exception, match="absent 1 cannot be had here: no such version"):
        Peer("name", ("absent==1",), "", "").python()
