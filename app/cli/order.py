"""A person's order on a model's rollout; it carries its reason to the audit."""

from app.cli.gateway import Gateway
from app.cli.output import Refused, write, write_document
from app.cli.verbs import ExitCode
from app.terminal.decisions import decision_lines
from app.terminal.text import Document, plain


def give_order(url: str, model: str, action: str, reason: str, *, force: bool = False, as_json: bool) -> None:
    """Post an action on the model's rollout and write the decision it becomes. Raises: Refused."""
    with Gateway(url) as gateway:
        rollout = _rollout_of(gateway, model)
        body = {"reason": reason} | ({"force": True} if force else {})
        decision = gateway.post("rollouts", f"{rollout['id']}:{action}", body=body)
    if as_json:
        write_document(decision)
    else:
        write("\n".join(decision_lines(decision)))


def _rollout_of(gateway: Gateway, model: str) -> Document:
    """The model's current rollout, or its last. Raises: Refused."""
    rollout: Document | None = gateway.get("models", model).get("rollout")
    if rollout is None:
        raise Refused(ExitCode.CONFLICT, f"model {plain(model)} has no rollout; `start` begins one.")
    return rollout
