"""What of one model's exchanges somebody looks at, compiled from what is declared."""

from collections.abc import Mapping
from typing import Final

from app.domain.catalog.declarations import Credentials, RowsKept
from app.domain.catalog.models import VersionName
from app.domain.catalog.routing import FULL_BP, RoutedModel
from app.proxy.observing.slices import SliceReader, pointer

_NOTHING_SAID: Final = Credentials()


class Watched:
    """One model.

    Attributes:
        is_any: Whether anything is declared to look at.
        sample_share: Chance that an exchange is read.
        slices: Tells the slices.
        features: Name and pointer of each watched input.
        reads_requests: Whether request bodies are looked into.
        keeps_rows: Whether a row is kept of each exchange that is read; `keeps_all`: of each.
        client_key: The field that holds a client's own key, in lower case with its colon; or empty.
        is_sticky: Whether callers keep their arm.
        credentials: Of each version.
    """

    __slots__ = (
        "client_key",
        "credentials",
        "features",
        "is_any",
        "is_sticky",
        "keeps_all",
        "keeps_rows",
        "reads_requests",
        "sample_share",
        "slices",
    )

    def __init__(self, routed: RoutedModel, known_values: dict[str, set[str]]) -> None:
        model = routed.model
        feedback = model.feedback
        self.slices = SliceReader(model.slices, known_values)
        self.features = [(each.name, at) for each in model.features if (at := pointer(each.pointer)) is not None]
        self.reads_requests = bool(self.features) or self.slices.by_body
        self.sample_share = 1.0 if model.observation is None else model.observation.sample_bp / FULL_BP
        self.keeps_rows = feedback is not None
        self.keeps_all = feedback is not None and feedback.rows is RowsKept.ALL
        key = None if feedback is None else feedback.client_key_header
        self.client_key = b"" if key is None else key.lower().encode() + b":"
        self.is_sticky = model.is_sticky
        self.credentials: Mapping[VersionName, Credentials] = {
            version.name: version.credentials for version in routed.versions if version.credentials != _NOTHING_SAID
        }
        self.is_any = bool(
            model.observation is not None or model.slices or model.features or feedback is not None or self._is_judged
        )

    @property
    def _is_judged(self) -> bool:
        """Whether some version has prices or a signature."""
        return any(said.prices is not None or said.signature is not None for said in self.credentials.values())
