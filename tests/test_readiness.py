"""What /readyz says, from what the parts of a process know."""

from structlog.testing import capture_logs

from app import readiness
from app.domain.catalog.models import ModelName
from app.errors import DatabaseUnavailable
from app.loops import Heard
from app.ops import Readiness
from app.replica.replica import Status
from app.replica.routing import Unreadable
from app.store.pg.contact import RETURNED_AFTER_S, Contact


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def contact(clock: Clock, loop: str = "pull") -> Contact:
    return Contact(loop, clock, lost="database.lost", returned="database.returned")


def status(unreadable: dict[ModelName, Unreadable] | None = None, *, withheld: bool = False) -> Status:
    return Status(True, 7, 0.1, 0.1, withheld, from_disk=False, unreadable=unreadable or {})


def test_a_failing_loop_is_told_with_its_reason_and_its_age() -> None:
    clock = Clock()
    pull, push = contact(clock), contact(clock, "push")
    with capture_logs():
        push.works()
        pull.failed(DatabaseUnavailable("refused: permission denied for table routes"))
        clock.now_s = 12.4
        check = readiness.of_database([pull, push], vital=False)
    assert (check.ok, check.vital) == (False, False)
    assert check.detail == "pull: refused: permission denied for table routes for 12 s"


def test_before_anything_was_tried_the_database_is_not_there() -> None:
    assert readiness.of_database([contact(Clock())], vital=True).detail == "not tried yet"


def test_what_fails_now_and_then_is_one_spell_told_twice() -> None:
    clock = Clock()
    pull = contact(clock)
    with capture_logs() as logs:
        pull.works()
        for _ in range(40):
            pull.failed(DatabaseUnavailable())
            clock.now_s += RETURNED_AFTER_S / 2
            pull.works()
            clock.now_s += RETURNED_AFTER_S / 4
            assert pull.up is False
        pull.works()
        clock.now_s += RETURNED_AFTER_S
        pull.works()
    assert pull.up is True
    assert pull.failing_s is None
    assert [(each["event"], each["loop"]) for each in logs] == [
        ("database.lost", "pull"),
        ("database.returned", "pull"),
    ]


def test_only_what_nobody_foresaw_comes_with_its_trace() -> None:
    with capture_logs() as logs:
        contact(Clock()).failed(DatabaseUnavailable())
        contact(Clock()).failed(KeyError("of tomorrow"))
    assert ["exc_info" in each for each in logs] == [False, True]
    assert logs[1]["why"] == "KeyError: 'of tomorrow'"


def test_an_unreadable_model_is_named_with_its_reason_and_its_age_and_stable_is_served() -> None:
    unreadable = {ModelName("fraud"): Unreadable("ValueError: 'x' is not a valid Protocol", 130.2, withheld=True)}
    checks = dict(readiness.of_replica(status(unreadable), 7, []))
    assert checks["models"].detail == "fraud unreadable for 130 s: ValueError: 'x' is not a valid Protocol"
    assert checks["canaries"].detail == "withheld of fraud"
    now = Readiness("proxy", checks)
    assert (now.ready, now.degraded) == (True, ["canaries", "models"])


def test_a_silent_loop_degrades_and_is_named() -> None:
    check = readiness.of_loops([Heard("pull", 34.2, 15.0)])
    assert (check.ok, check.vital, check.detail) == (False, False, "pull silent for 34 s")
    assert readiness.of_loops([]).ok


def test_without_a_table_nobody_is_ready() -> None:
    assert not Readiness("proxy", dict(readiness.of_replica(status(), -1, []))).ready
    assert Readiness("proxy", dict(readiness.of_replica(status(withheld=True), 0, ["fraud/v2"]))).ready


def test_a_rollout_that_cannot_be_read_is_named() -> None:
    assert readiness.of_rollouts({ModelName("fraud"): "ValidationError"}).detail == "unreadable: fraud: ValidationError"
