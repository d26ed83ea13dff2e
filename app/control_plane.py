"""One process' control plane, made as its settings say."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

from fastapi import FastAPI

from app import __version__, readiness, telemetry
from app.actions.context import Means
from app.admin.api import admin_app
from app.admin.dependencies import Services
from app.controller.controller import Controller
from app.controller.figures import StandingFigures
from app.ops import Check
from app.settings import Settings
from app.store.pg.contact import Contact
from app.telemetry import DecisionCount


@dataclass(frozen=True, slots=True)
class DecidingParts:
    """Everything of a process that answers the admin API and judges rollouts."""

    controller: Controller
    admin: FastAPI

    def contacts(self) -> Iterator[Contact]:
        """What its loop finds at Postgres."""
        yield self.controller.contact

    def checks(self) -> Iterator[tuple[str, Check]]:
        """What it needs to be well."""
        yield "rollouts", readiness.of_rollouts(self.controller.standing.unreadable)

    def figures(self) -> Iterator[telemetry.Source]:
        """What the ticks left."""
        yield StandingFigures(lambda: self.controller.standing)


def deciding(settings: Settings, means: Means, decided: DecisionCount) -> DecidingParts:
    """The controller, and the admin API beside it."""
    controller = Controller(
        means,
        decided=decided,
        tick_interval_s=settings.tick_interval_s,
        tally_keep_days=settings.tally_keep_days,
        monotonic=time.monotonic,
        wall=time.time,
    )
    services = Services(means, settings.timeouts, settings.observed_window_s, decided)
    return DecidingParts(
        controller, admin_app(services, version=__version__, body_max_bytes=settings.admin_body_max_bytes)
    )
