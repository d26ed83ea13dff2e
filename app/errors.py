"""Every error raised on purpose.

Rule: a class says what went wrong and its `kind` says whose fault it is; only the
listeners know HTTP status codes. `members` travel to the client inside the problem.
"""

from collections.abc import Mapping
from enum import StrEnum

# A problem's type is this and the name of what went wrong (RFC 9457 §3.1.1); docs/problems.md explains each.
# A urn, because no address is ours: one that is not could one day serve anything to who follows it.
PROBLEM_TYPE = "urn:turnback:problem:"


class ErrorKind(StrEnum):
    """Whose fault an error is, and so what the caller can do about it."""

    NOT_FOUND = "not_found"
    CONFLICT = "conflict"
    INVALID = "invalid"
    UNAVAILABLE = "unavailable"


class TurnbackError(Exception):
    """Base of all errors raised on purpose; never raised itself."""

    kind: ErrorKind
    title: str

    def __init__(self, detail: str, **members: object) -> None:
        super().__init__(detail)
        self.detail = detail
        self.members: Mapping[str, object] = members


class UnknownModel(TurnbackError):
    """No model of that name is registered."""

    kind = ErrorKind.NOT_FOUND
    title = "No such model"

    def __init__(self, model: str) -> None:
        super().__init__(f"no model is called {model!r}", model=model)


class UnknownVersion(TurnbackError):
    """The model has no version of that name."""

    kind = ErrorKind.NOT_FOUND
    title = "No such version"

    def __init__(self, model: str, version: str) -> None:
        super().__init__(f"model {model!r} has no version {version!r}", model=model, version=version)


class UnknownRollout(TurnbackError):
    """No rollout has that id, or the model has none to act on."""

    kind = ErrorKind.NOT_FOUND
    title = "No such rollout"

    def __init__(self, what: str) -> None:
        super().__init__(f"there is no rollout {what}")


class UnknownDecision(TurnbackError):
    """No decision has that id."""

    kind = ErrorKind.NOT_FOUND
    title = "No such decision"

    def __init__(self, decision_id: str) -> None:
        super().__init__(f"there is no decision {decision_id}", decision_id=decision_id)


class UnknownWatch(TurnbackError):
    """Nothing was ever watched after a promotion of this model."""

    kind = ErrorKind.NOT_FOUND
    title = "No watch"

    def __init__(self, model: str) -> None:
        super().__init__(f"no promotion of model {model!r} left a standby", model=model)


class UnknownRecall(TurnbackError):
    """No recall has that id."""

    kind = ErrorKind.NOT_FOUND
    title = "No such recall"

    def __init__(self, recall_id: str) -> None:
        super().__init__(f"there is no recall {recall_id}")


class NameTaken(TurnbackError):
    """A model, version or match rule with that name exists already and differs."""

    kind = ErrorKind.CONFLICT
    title = "The name is taken"


class RolloutActive(TurnbackError):
    """One rollout per model at a time."""

    kind = ErrorKind.CONFLICT
    title = "A rollout is running already"

    def __init__(self, model: str) -> None:
        super().__init__(f"a rollout of model {model!r} is under way; end it first", model=model, field="/model")


class IllegalTransition(TurnbackError):
    """The rollout's phase does not accept the event."""

    kind = ErrorKind.CONFLICT
    title = "The rollout cannot do that now"

    def __init__(self, phase: str, event: str) -> None:
        super().__init__(f"a {phase} rollout cannot take {event}", phase=phase, event=event)


class StaleGeneration(TurnbackError):
    """Somebody else changed the route between reading and writing it."""

    kind = ErrorKind.CONFLICT
    title = "The route changed meanwhile"

    def __init__(self, model: str, seen: int) -> None:
        super().__init__(f"model {model!r} is no longer at generation {seen}", model=model, seen=seen)


class TargetUnhealthy(TurnbackError):
    """The version that should take the traffic does not answer its probe."""

    kind = ErrorKind.CONFLICT
    title = "The target does not answer"

    def __init__(self, model: str, version: str, why: str) -> None:
        super().__init__(
            f"version {version!r} of model {model!r} does not answer its probe ({why})",
            model=model,
            version=version,
        )


class InvalidInput(TurnbackError):
    """A value cannot be accepted; `field` is its JSON pointer."""

    kind = ErrorKind.INVALID
    title = "The request is not valid"

    def __init__(self, field: str, why: str) -> None:
        # The empty pointer is the whole document, which needs no name.
        super().__init__(f"{field}: {why}" if field else why, field=field)
        self.field = field
        self.why = why


class RolloutRefused(TurnbackError):
    """The policy asks for an offline evaluation that the canary does not have."""

    kind = ErrorKind.INVALID
    title = "The policy refuses this rollout"

    def __init__(self, why: str) -> None:
        super().__init__(why, field="/canary")


class UpstreamNotAllowed(InvalidInput):
    """The upstream's address is not http(s) or not on the allow-list."""

    title = "The upstream is not allowed"


class DatabaseUnavailable(TurnbackError):
    """Postgres cannot be reached; nothing was changed."""

    kind = ErrorKind.UNAVAILABLE
    title = "The database is not reachable"

    def __init__(self, why: str = "not reachable") -> None:
        """Args: why: In a few words, for those who run it; clients are not told."""
        super().__init__("Postgres is not reachable; inference goes on, changes do not")
        self.why = why


class ModelUnusable(Exception):
    """A model is registered in a way that this process cannot serve; nobody who asks over HTTP ever meets it."""

    def __init__(self, model: str, why: str) -> None:
        super().__init__(f"model {model!r} cannot be served: {why}")
        self.model = model
        self.why = why


class SpoolFull(TurnbackError):
    """Postgres is away, and this machine's disk has no room for more feedback."""

    kind = ErrorKind.UNAVAILABLE
    title = "Feedback cannot be kept"

    def __init__(self, why: str) -> None:
        super().__init__(f"Postgres is not reachable and {why}; send the batch again later")


class CannotServe(Exception):
    """The process cannot do its work as it was started; the message is one sentence with the remedy.

    Not a TurnbackError: nobody who asks over HTTP ever sees it.
    """


class OutcomeUnknown(TurnbackError):
    """The connection broke while a change was being committed; nobody found out how it ended."""

    kind = ErrorKind.UNAVAILABLE
    title = "It is not known whether the change was saved"

    def __init__(self, why: str = "not reachable") -> None:
        """Args: why: In a few words, for those who run it; clients are not told."""
        super().__init__("the connection to Postgres broke while the change was being saved; look before trying again")
        self.why = why
