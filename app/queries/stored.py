"""Values that reads give out as the store keeps them: whoever shows them names them here, and never the store.

Rule: frozen values only; no function that takes a transaction.
"""

from app.store.evidence.tallies import Slot
from app.store.labels.labels import Counted, Covered, Stats
from app.store.labels.quality import Told
from app.store.rollouts.audit import Entry
from app.store.rollouts.decisions import Decision, DecisionId
from app.store.rollouts.recalls import Recall, RecalledAnswer, RecallId
from app.store.rollouts.standbys import Watched
from app.store.routing.routes import Generation

__all__ = [
    "Counted",
    "Covered",
    "Decision",
    "DecisionId",
    "Entry",
    "Generation",
    "Recall",
    "RecallId",
    "RecalledAnswer",
    "Slot",
    "Stats",
    "Told",
    "Watched",
]
