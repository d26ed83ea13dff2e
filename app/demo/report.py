"""The story's end as one document, and what in it is not as it should be."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from app.demo.fault import Outage
from app.demo.replay import Counts
from app.demo.story import CHAPTERS, Chapter, Ended


@dataclass(frozen=True, slots=True)
class Tallies:
    """Answers by version: as the client counted them, and as Postgres has them.

    Attributes:
        excluded: Of the recorded ones, those without a coin: stable answered for a canary it could not reach.
    """

    client_counts: Mapping[str, int]
    recorded_counts: Mapping[str, int]
    excluded: int

    @property
    def equal(self) -> bool:
        return self.client_counts == self.recorded_counts


@dataclass(frozen=True, slots=True)
class Report:
    """Everything measured while the story played.

    Attributes:
        seconds: From the first request to the last answer.
        models: What each model server measured of its own model on April to June.
    """

    ended: Sequence[Ended]
    counts: Counts
    tallies: Tallies
    seconds: float
    models: Mapping[str, Mapping[str, float]]
    outage: Outage | None

    def surprises(self) -> list[str]:
        """One sentence for everything that is not as it should be; empty when the story ended as expected."""
        told = {one.version: one for one in self.ended}
        found = [
            sentence for chapter in CHAPTERS if (sentence := _surprise(chapter, told.get(chapter.version))) is not None
        ]
        if self.counts.failed_by_gateway:
            found.append(f"{self.counts.failed_by_gateway} requests got no answer because of the gateway")
        if self.counts.mislabelled:
            found.append(f"{self.counts.mislabelled} answers named another version than the one that gave them")
        if not self.tallies.equal:
            found.append("the recorded tallies differ from what the client counted")
        if self.outage is not None and self.outage.down_s is None:
            found.append("Postgres was never stopped")
        return found

    def document(self) -> dict[str, Any]:
        surprises = self.surprises()
        return {
            "ended_as_expected": not surprises,
            "surprises": surprises,
            "promoted": [_ending(one) for one in self.ended if one.phase == "promoted"],
            "rolled_back": [_ending(one) for one in self.ended if one.phase == "rolled_back"],
            "answers": self.counts.answers,
            "answers_per_second": round(self.counts.answers / self.seconds, 1),
            "failed_by_gateway": self.counts.failed_by_gateway,
            "failed_by_models": self.counts.bad.total(),
            "tallies": {**asdict(self.tallies), "equal": self.tallies.equal},
            "seconds": round(self.seconds, 2),
            "models": self.models,
            "fault": None if self.outage is None else _fault(self.outage),
        }


def _surprise(chapter: Chapter, ended: Ended | None) -> str | None:
    if ended is None:
        return f"{chapter.version} never had its turn"
    if ended.phase != chapter.phase:
        return f"{chapter.version} is {ended.phase}, not {chapter.phase}"
    if ended.trigger not in chapter.triggers:
        return f"{chapter.version} was decided by {ended.trigger}, not by {' or '.join(sorted(chapter.triggers))}"
    return None


def _ending(ended: Ended) -> dict[str, Any]:
    return {name: value for name, value in asdict(ended).items() if name != "phase"}


def _fault(outage: Outage) -> dict[str, Any]:
    return {
        "name": "postgres",
        "down_s": None if outage.down_s is None else round(outage.down_s, 2),
        "answers_meanwhile": outage.answers,
        "failed_meanwhile": outage.failed,
    }
