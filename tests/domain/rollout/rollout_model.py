"""The phases of a rollout said a second time, small enough to read in one go; a test compares the two.

Rule: nothing here is taken from the engine but the ladder's rungs; times are seconds since the start.
"""

from dataclasses import dataclass
from math import log

LADDER = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000)
OPEN = {"pending", "warming", "ramping", "baking", "paused", "frozen", "invalid", "expired"}
# At ten requests a second with nothing known of the canary, a fifth of the traffic is the most.
MOST_UNKNOWN = 2_000
WARM_UP, READY_WITHIN, PENDING_FOR, BRAKE_PATIENCE = 5.0, 600.0, 60.0, 10.0


@dataclass
class Sight:
    """What a look saw, as far as the phases care."""

    log_e: float
    verdict: str
    ready: bool
    bound: float
    held_by: str | None


@dataclass
class Model:
    """One rollout; `take` is the whole of its rules."""

    most: int
    on_deadline: str
    margin: float
    hold: float
    time: float
    phase: str = "pending"
    weight: int = 0
    since: float = 0.0
    deadline: float = PENDING_FOR
    decide_by: float = 0.0
    back_to: str = ""
    frozen_by: str = ""
    braked_since: float | None = None

    def __post_init__(self) -> None:
        self.decide_by = self.time

    @property
    def rungs(self) -> list[int]:
        return [*(rung for rung in LADDER if rung < self.most), self.most]

    def enter(self, phase: str, now: float) -> None:
        self.phase, self.since = phase, now
        self.deadline = now + self.hold
        if phase == "warming":
            self.deadline = now + WARM_UP + READY_WITHIN
        if phase in {"ramping", "baking"}:
            self.deadline = self.decide_by
        if phase == "frozen" and self.decide_by > now:
            self.deadline = min(self.deadline, self.decide_by)

    def end(self, phase: str) -> None:
        self.phase, self.weight = phase, 10_000 if phase == "promoted" else 0

    def move(self, now: float) -> None:
        self.enter("baking" if self.weight >= self.most else "ramping", now)

    def freeze(self, by: str, weight: int, now: float) -> None:
        if self.phase != "frozen":
            self.back_to = self.phase
            self.enter("frozen", now)
        self.frozen_by, self.weight = by, weight

    def thaw(self, now: float) -> None:
        if self.back_to in {"paused", "expired"}:
            self.enter(self.back_to, now)
        else:
            self.move(now)

    # ------------------------------------------------------------------ what people and replicas do

    def order(self, name: str, now: float) -> bool:
        """Whether the phase takes it; then it has happened."""
        allowed = {
            "start": {"pending"},
            "pause": {"warming", "ramping", "baking", "frozen"},
            "resume": {"paused", "frozen", "expired"},
            "promote": OPEN - {"pending"},
            "rollback": OPEN | {"promoted", "rolled_back", "aborted"},
            "abort": OPEN,
            "brake": OPEN,
            "release": OPEN,
        }
        if self.phase not in allowed[name]:
            return False
        getattr(self, f"_{name}")(now)
        return True

    def _start(self, now: float) -> None:
        self.enter("warming", now)

    def _pause(self, now: float) -> None:
        self.enter("paused", now)

    def _resume(self, now: float) -> None:
        if self.decide_by <= now:
            self.decide_by = now + self.time
        if self.weight:
            self.move(now)
        else:
            self.enter("warming", now)

    def _promote(self, _: float) -> None:
        self.end("promoted")

    def _rollback(self, _: float) -> None:
        if self.phase not in {"rolled_back", "aborted"}:
            self.end("rolled_back")

    def _abort(self, _: float) -> None:
        self.end("aborted")

    def _brake(self, now: float) -> None:
        self.braked_since = now if self.braked_since is None else self.braked_since
        if self.weight == 0:
            return
        if self.phase != "frozen":
            # It has its ten seconds at the lowest weight, however long it was open before.
            self.braked_since = now
            self.freeze("brake", min(self.weight, self.rungs[0]), now)
        elif now - self.braked_since >= BRAKE_PATIENCE:
            self.end("rolled_back")

    def _release(self, now: float) -> None:
        self.braked_since = None
        if self.phase == "frozen" and self.frozen_by == "brake":
            self.thaw(now)

    # ------------------------------------------------------------------ what a look does

    def look(self, seen: Sight, now: float) -> bool:
        """As `order`."""
        if self.phase not in OPEN:
            return False
        if self.phase in {"ramping", "baking", "paused", "frozen", "expired"} and self._guarded(seen, now):
            return True
        getattr(self, f"_look_{self.phase}")(seen, now)
        return True

    def _guarded(self, seen: Sight, now: float) -> bool:
        held = seen.held_by not in {None, "external"} and self.weight > 0 and self.phase != "frozen"
        if seen.verdict == "regressed":
            self.end("rolled_back")
        elif held:
            self.freeze(str(seen.held_by), min(self.weight, self.rungs[0]), now)
        elif seen.verdict == "invalid":
            self.weight = 0
            self.enter("invalid", now)
        else:
            return False
        return True

    def _look_pending(self, _: Sight, now: float) -> None:
        if now >= self.deadline:
            self.end("aborted")

    def _look_warming(self, seen: Sight, now: float) -> None:
        if now - self.since >= WARM_UP and seen.ready and self.braked_since is None:
            self.weight = self.rungs[0]
            self.move(now)
        elif now >= self.deadline:
            self.end("rolled_back")

    def _look_ramping(self, seen: Sight, now: float) -> None:
        if seen.log_e >= log(10):
            self.freeze("suspicion", max((r for r in self.rungs if r < self.weight), default=self.rungs[0]), now)
        elif seen.held_by == "external":
            self.freeze("external", self.rungs[0], now)
        elif seen.verdict == "healthy":
            self.end("promoted")
        elif now >= self.deadline:
            self._out_of_time(seen, now)
        else:
            self._climb(seen, now)

    _look_baking = _look_ramping

    def _climb(self, seen: Sight, now: float) -> None:
        above = min((rung for rung in self.rungs if rung > self.weight), default=self.most)
        if seen.log_e < log(3) and above != self.weight and (seen.bound < 1.0 or above <= MOST_UNKNOWN):
            self.weight = above
            if above == self.most:
                self.move(now)

    def _out_of_time(self, seen: Sight, now: float) -> None:
        moving = self.phase in {"ramping", "baking"}
        below = seen.bound < self.margin and seen.log_e < log(3) and seen.held_by is None
        if self.on_deadline == "rollback":
            self.end("rolled_back")
        elif self.on_deadline == "promote_if_below" and moving and below:
            self.end("promoted")
        else:
            self.enter("expired", now)

    def _look_paused(self, seen: Sight, now: float) -> None:
        if now >= self.deadline:
            self._out_of_time(seen, now)

    def _look_frozen(self, seen: Sight, now: float) -> None:
        if now >= self.deadline:
            self._out_of_time(seen, now)
        elif seen.held_by is not None:
            self.freeze(seen.held_by, min(self.weight, self.rungs[0]), now)
        elif seen.log_e >= log(10):
            self.frozen_by = "suspicion"
        elif seen.log_e < log(3) and self.braked_since is None:
            self.thaw(now)

    def _look_invalid(self, _: Sight, now: float) -> None:
        if now >= self.deadline:
            self.end("rolled_back")

    _look_expired = _look_invalid
