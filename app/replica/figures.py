"""What the routing table in force says, and how old it is, as Prometheus series."""

from collections.abc import Callable, Iterator

from app import telemetry
from app.domain.catalog.routing import FULL_BP, RoutingTable
from app.replica.replica import Replica
from app.telemetry import Series


class RoutingFigures:
    """Reads the table once per scrape."""

    def __init__(self, table: Callable[[], RoutingTable], replica: Replica) -> None:
        self._table = table
        self._replica = replica

    def series(self) -> Iterator[Series]:
        age_s = self._replica.status.routing_age_s
        if age_s is not None:
            yield Series(telemetry.ROUTING_AGE, (), age_s)
        for routed in self._table().models:
            model = routed.model.name
            yield Series(telemetry.GENERATION, (model,), float(routed.route.generation))
            for version, weight in routed.route.weights_bp.items():
                yield Series(telemetry.WEIGHT, (model, version), weight / FULL_BP)


def serving_arms(table: RoutingTable) -> set[tuple[str, str]]:
    """Model and version of every arm that gets traffic."""
    return {
        (routed.model.name, version)
        for routed in table.models
        for version, weight in routed.route.weights_bp.items()
        if weight > 0
    }
