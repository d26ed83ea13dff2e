"""A process that does not end by itself is ended, also when its event loop or its log is stuck."""

import subprocess
import sys
import threading
import time

from app.ending import Deadline

PATIENCE_S = 20.0

# Everything that a process waits for at its end, stuck: a log nobody reads, a thread that never returns.
STUCK = """
import sys, threading
from concurrent.futures import ThreadPoolExecutor
from app import telemetry
from app.ending import Deadline
telemetry.configure_logging(pretty=False)
Deadline().within({after}, status={status})
ThreadPoolExecutor().submit(threading.Event().wait)
while {blocked}:
    sys.stderr.write("x" * 65536)
"""


def ended(after: float, status: int, *, blocked: bool) -> int:
    code = STUCK.format(after=after, status=status, blocked=blocked)
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE)  # noqa: S603 -- this interpreter
    try:
        return process.wait(PATIENCE_S)
    finally:
        process.kill()
        process.communicate()


def test_a_thread_that_never_returns_does_not_hold_up_the_end() -> None:
    assert ended(0.2, 0, blocked=False) == 0


def test_a_log_that_nobody_reads_does_not_hold_up_the_end() -> None:
    assert ended(0.2, 1, blocked=True) == 1


def test_a_later_deadline_takes_the_place_of_an_earlier_one() -> None:
    over, statuses = threading.Event(), []

    def end(status: int) -> None:
        statuses.append(status)
        over.set()

    deadline = Deadline(end)
    deadline.within(0.01, status=3)
    deadline.within(0.05, status=0)
    assert over.wait(PATIENCE_S)
    time.sleep(0.05)
    assert statuses == [0]
