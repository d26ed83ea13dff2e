"""The story's end as one document, and everything in it that is not as it should be."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from app.demo.fault import Outage
from app.demo.landings import Quality
from app.demo.recorded import Recall, Tallies
from app.demo.replay import Counts
from app.demo.story import CHAPTERS, Chapter, Ended


@dataclass(frozen=True, slots=True)
class Report:
    """Everything measured while the story played.

    Attributes:
        labels: What the gateway says became of the labels it took; unsent: How many it never took.
        decisions: The admin API's documents of all decisions about the model.
        seconds: From the first request to the last answer.
        models: What each model server measured of its own model on April to June.
    """

    ended: Sequence[Ended]
    counts: Counts
    quality: Quality
    labels: Mapping[str, int]
    unsent: int
    tallies: Tallies
    recalls: Sequence[Recall]
    decisions: Sequence[Mapping[str, Any]]
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
        found += [
            f"the recall of {one.version} lists {one.listed} answers, and the client saw {one.client_saw}"
            + (", but not the same" if one.listed == one.client_saw else "")
            for one in self.recalls
            if not one.equal
        ]
        found += self._surprising_labels()
        found += [
            f"{sentence!r} rolled a version back outside of every chapter" for sentence in self._rollbacks_besides()
        ]
        if self.outage is not None and self.outage.down_s is None:
            found.append("Postgres was never stopped")
        return found

    def _surprising_labels(self) -> list[str]:
        """Every label was sent with a receipt of the gateway's own, so it takes every one."""
        found = []
        if self.unsent:
            found.append(f"{self.unsent} labels were never taken")
        refused = sum(self.labels.get(result, 0) for result in ("orphan", "unknown", "invalid"))
        if refused:
            found.append(f"{refused} labels were of no use: orphans, unknown or invalid")
        return found

    def _rollbacks_besides(self) -> list[str]:
        """Rollbacks of versions with which nothing is wrong but the season."""
        told = {one.decision for one in self.ended}
        rolled_back = [decision for decision in self.decisions if decision["action"] == "roll_back"]
        return [decision["sentence"] for decision in rolled_back if decision["id"] not in told]

    def document(self) -> dict[str, Any]:
        surprises = self.surprises()
        return {
            "ended_as_expected": not surprises,
            "surprises": surprises,
            "promoted": [_without(one, "phase") for one in self.ended if one.phase == "promoted"],
            "rolled_back": [_without(one, "phase") for one in self.ended if one.phase == "rolled_back"],
            "answers": self.counts.answers,
            "answers_per_second": round(self.counts.answers / self.seconds, 1),
            "failed_by_gateway": self.counts.failed_by_gateway,
            "failed_by_models": self.counts.bad.total(),
            "tallies": {**asdict(self.tallies), "equal": self.tallies.equal},
            "labels": {"sent": sum(self.labels.values()), **self.labels},
            "recall": {one.version: _without(one, "version") for one in self.recalls},
            "season": {"error_by_month": self._season(), "rollbacks": self._rollbacks_besides()},
            "seconds": round(self.seconds, 2),
            "models": self.models,
            "fault": None if self.outage is None else _fault(self.outage),
        }

    def _season(self) -> dict[str, dict[str, float]]:
        """Share of wrong answers of the versions that were stable, by month."""
        stable = ["v1", *(one.version for one in self.ended if one.phase == "promoted")]
        by_month = {version: self.quality.error_by_month(version) for version in stable}
        return {
            version: {f"2013-{month:02}": round(error, 4) for month, error in errors.items()}
            for version, errors in by_month.items()
        }


def _surprise(chapter: Chapter, ended: Ended | None) -> str | None:
    if ended is None:
        return f"{chapter.version} never had its turn"
    if ended.phase != chapter.phase:
        return f"{chapter.version} is {ended.phase}, not {chapter.phase}"
    if not ended.trigger.startswith(chapter.trigger):
        return f"{chapter.version} was decided by {ended.trigger}, not by {chapter.trigger}"
    return None


def _without(record: Ended | Recall, left_out: str) -> dict[str, Any]:
    return {name: value for name, value in asdict(record).items() if name != left_out}


def _fault(outage: Outage) -> dict[str, Any]:
    return {
        "name": "postgres",
        "down_s": None if outage.down_s is None else round(outage.down_s, 2),
        "answers_meanwhile": outage.answers,
        "failed_meanwhile": outage.failed,
    }
