"""What matured labels say of a promoted version and its standby: silent decay, of which no status code tells.

Rule: as in a rollout only exchanges older than the metric's horizon are read, each batch once and for both
versions at once. Of a loss between 0 and 1 only so much of an answer is bad, which makes the factors of
`evidence.log_e_tilt` smaller on average and never greater: log(1 - w + w x^a) <= a log(1 - w + w x).
"""

from collections.abc import Container, Iterable
from dataclasses import replace

from app.domain.catalog import VersionName
from app.domain.cohort import SOURCES_MAX
from app.domain.cohort_ledger import Matured
from app.domain.declared import Missing
from app.domain.quality import Loss, loss
from app.domain.spread import OTHER
from app.domain.watch import Pair, Seen, Watch, with_pair


class _Said:
    """What one label says: whose answer, who said so, how bad; and what the next source said of it, if one did."""

    __slots__ = ("another", "found", "source", "version")

    def __init__(self, version: VersionName, source: str, found: Loss, another: Loss | None) -> None:
        self.version = version
        self.source = source
        self.found = found
        self.another = another

    def without(self, source: str | None) -> Loss | None:
        """The loss as if this source had said nothing; what others said of the same exchange stays."""
        return self.another if self.source == source else self.found


def read_labels(watch: Watch, name: str, matured: Matured, own: Container[int]) -> Watch:
    """The watch with the labels of one metric that became old enough.

    Args:
        watch: As it was.
        name: Of the metric, one of `watch.metrics`.
        matured: Of the seconds after `watch.suspicions[name].read_through`.
        own: The generations that were drawn with the watch's weights; others are ignored.
    """
    suspicion = watch.suspicions[name]
    if matured.through <= suspicion.read_through:
        return watch
    said = list(_said(watch, name, matured, own))
    drawn = _drawn(watch, name, matured, own)
    # A source that has said nothing yet changes nothing by not having said it.
    before = {**{each.source: replace(suspicion, without={}) for each in said}, **suspicion.without}
    read = replace(
        with_pair(watch, suspicion, _pair(watch, matured.through, said, drawn, None)),
        read_through=matured.through,
        without={
            source: with_pair(watch, each, _pair(watch, matured.through, said, drawn, source))
            for source, each in sorted(before.items())
        },
    )
    return replace(watch, suspicions={**watch.suspicions, name: read})


def _said(watch: Watch, name: str, matured: Matured, own: Container[int]) -> Iterable[_Said]:
    metric = watch.metrics[name].metric
    known = set(watch.suspicions[name].without)
    for row in sorted(matured.rows, key=lambda row: (row.second, row.exchange)):
        found = loss(metric, row)
        if found is None or row.generation not in own:
            continue
        if len(known) < SOURCES_MAX:
            known.add(row.source)
        another = None if row.another is None else loss(metric, row._replace(label=row.another))
        yield _Said(row.version, row.source if row.source in known else OTHER, found, another)


def _drawn(watch: Watch, name: str, matured: Matured, own: Container[int]) -> dict[VersionName, int]:
    """How many exchanges were drawn, where what nobody labels counts as bad."""
    drawn = {watch.stable: 0, watch.standby: 0}
    if watch.metrics[name].metric.missing is Missing.BAD:
        for (generation, version), count in matured.drawn.items():
            if generation in own and version in drawn:
                drawn[version] += count
    return drawn


def _pair(watch: Watch, second: int, said: list[_Said], drawn: dict[VersionName, int], left_out: str | None) -> Pair:
    seen = {}
    for version in (watch.stable, watch.standby):
        of_version = [each for each in said if each.version == version]
        losses = [each.without(left_out) for each in of_version]
        known = [each.a for each in losses if each is not None]
        missing = max(0, drawn[version] - len(of_version))
        seen[version] = Seen(len(known) + missing, sum(known) + missing)
    return Pair(second, seen[watch.stable], seen[watch.standby])
