"""What the ticks left, as Prometheus series."""

from collections.abc import Callable, Iterator

from app import telemetry
from app.controller.controller import Standing
from app.domain.rollout.rollout import Phase
from app.telemetry import Series

TICK_BOUNDS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class StandingFigures:
    """Reads the standing once per scrape."""

    def __init__(self, standing: Callable[[], Standing]) -> None:
        self._standing = standing

    def series(self) -> Iterator[Series]:
        now = self._standing()
        for model, current in now.phases.items():
            for phase in Phase:
                yield Series(telemetry.ROLLOUT_STATE, (model, phase), float(phase is current))
        for (model, metric), log_e in now.evidence.items():
            yield Series(telemetry.EVIDENCE, (model, metric), log_e)
        for drifted, psi in now.drift.items():
            yield Series(telemetry.DRIFT_PSI, drifted, psi)
        for model, log_m in now.watched.items():
            yield Series(telemetry.WATCH_EVIDENCE, (model,), log_m)
        took = {milliseconds / 1_000: count for milliseconds, count in now.ticks_ms.items()}
        yield Series(telemetry.EVALUATION_DURATION, (), telemetry.distribution(took, TICK_BOUNDS_S, now.ticks_total_s))
        if now.completed_at is not None:
            yield Series(telemetry.LAST_EVALUATION, (), now.completed_at)
