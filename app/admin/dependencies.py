"""A handler of the admin API may ask for these: the means of change and of reading, and who asks."""

import re
from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

import structlog
from fastapi import Depends, Header, Path, Request

from app.actions.context import ENGINE, REPLICA, Means
from app.domain.catalog.models import ModelName, Timeouts, VersionName, model_name, version_name
from app.domain.rollout.rollout import RolloutId
from app.errors import InvalidInput, UnknownDecision, UnknownModel, UnknownRecall, UnknownRollout, UnknownVersion
from app.queries.stored import Decision, DecisionId, RecallId
from app.telemetry import DecisionCount

log = structlog.get_logger()

_ACTOR = re.compile(r"[A-Za-z0-9][A-Za-z0-9@._+-]{0,63}")


@dataclass(frozen=True, slots=True)
class Services:
    """Bound once, in main.

    Attributes:
        default_timeouts: Of versions that do not say their own.
        observed_window_s: Seconds observed shares are counted over.
        decided: Counts what people decide here.
    """

    means: Means
    default_timeouts: Timeouts
    observed_window_s: int
    decided: DecisionCount

    def note(self, decision: Decision) -> None:
        """Count and log a person's decision."""
        self.decided.add(decision.model, decision.action, by_engine=False)
        log.info(
            "decision.made",
            model=decision.model,
            decision=decision.id,
            action=decision.action,
            actor=decision.actor,
            reason=decision.reason,
            sentence=decision.sentence,
            generation=decision.generation_after,
        )


def services(request: Request) -> Services:
    held = request.app.state.services
    if not isinstance(held, Services):
        raise TypeError("the admin application was made without its services")
    return held


InServices = Annotated[Services, Depends(services)]


def means(given: InServices) -> Means:
    return given.means


InMeans = Annotated[Means, Depends(means)]


def actor(
    x_turnback_actor: Annotated[
        str | None, Header(max_length=64, description="Who asks, for the audit; until keys exist a mere claim.")
    ] = None,
) -> str:
    """Who asks. Raises: InvalidInput: not a plain name, or that of a program."""
    if x_turnback_actor is None:
        return "operator"
    if _ACTOR.fullmatch(x_turnback_actor) is None or x_turnback_actor in {ENGINE, REPLICA}:
        raise InvalidInput("/header/x-turnback-actor", "must be a plain name, and not that of the engine or a replica")
    return x_turnback_actor


Actor = Annotated[str, Depends(actor)]


def known_model(model: str) -> ModelName:
    """The model a path names. Raises: UnknownModel: what cannot be a name is nobody's."""
    try:
        return model_name(model)
    except InvalidInput:
        raise UnknownModel("of that name") from None


def known_version(model: str, version: str) -> VersionName:
    """The version a path names. Raises: UnknownVersion."""
    try:
        return version_name(version)
    except InvalidInput:
        raise UnknownVersion(model, "of that name") from None


def known_rollout(rollout_id: Annotated[str, Path(max_length=64, description="The rollout's id.")]) -> RolloutId:
    """The rollout a path names. Raises: UnknownRollout: what cannot be an id is nobody's."""
    known = _uuid_text(rollout_id)
    if known is None:
        raise UnknownRollout("of that id")
    return RolloutId(known)


def known_decision(decision_id: Annotated[str, Path(max_length=64, description="The decision's id.")]) -> DecisionId:
    """The decision a path names. Raises: UnknownDecision."""
    known = _uuid_text(decision_id)
    if known is None:
        raise UnknownDecision("of that id")
    return DecisionId(known)


def known_recall(recall_id: Annotated[str, Path(max_length=64, description="The recall's id.")]) -> RecallId:
    """The recall a path names. Raises: UnknownRecall."""
    known = _uuid_text(recall_id)
    if known is None:
        raise UnknownRecall("of that id")
    return RecallId(known)


InModel = Annotated[ModelName, Depends(known_model)]
InRollout = Annotated[RolloutId, Depends(known_rollout)]
InDecision = Annotated[DecisionId, Depends(known_decision)]
InRecall = Annotated[RecallId, Depends(known_recall)]


def _uuid_text(text: str) -> str | None:
    """The id in its one spelling, None when it is none."""
    try:
        return str(UUID(text))
    except ValueError:
        return None
