"""Which protocol the answers to a request's path are in, and how a stream of that protocol ends.

Rule: an end is demanded only where the protocol promises one; elsewhere a clean end of the
transfer is all a stream can show.
"""

import re
from typing import Final

from app.domain.catalog.models import Protocol


class Ending:
    """How a well-ended stream says that it is complete.

    Attributes:
        hint: Bytes that are in every last event, and in few others.
        data: The last event's data when they are no JSON, or None.
        types: The last event's `event` field or its data's `type`.
        delta: Bytes that are once in each event with a piece of the answer, and never in its text.
    """

    __slots__ = ("data", "delta", "hint", "types")

    def __init__(self, hint: bytes, *, delta: bytes, data: bytes | None = None, types: tuple[bytes, ...] = ()) -> None:
        self.hint = hint
        self.delta = delta
        self.data = data
        self.types = types


CHAT: Final = Ending(b"[DONE]", delta=b'"delta"', data=b"[DONE]")
COMPLETIONS: Final = Ending(b"[DONE]", delta=b'"text"', data=b"[DONE]")
# An answer cut at its token limit ends with response.incomplete and is as complete as it was meant to be.
RESPONSES: Final = Ending(
    b"complete", delta=b'"response.output_text.delta"', types=(b"response.completed", b"response.incomplete")
)
MESSAGES: Final = Ending(b"message_stop", delta=b'"content_block_delta"', types=(b"message_stop",))

# The first that matches the path without its query says what AUTO means there.
_PATHS: Final = (
    (re.compile(rb"/v2/models/"), Protocol.OIP_V2),
    (re.compile(rb"/chat/completions$|/v1/(?:completions|responses|embeddings)$"), Protocol.OPENAI),
    (re.compile(rb"/v1/messages$"), Protocol.ANTHROPIC),
    # TF Serving's answers are a superset of what KServe's first protocol says.
    (re.compile(rb"/v1/models/[^/]+(?:/[^:]*)?:[a-z]+$"), Protocol.TF_SERVING),
    (re.compile(rb"^/predictions/"), Protocol.TORCHSERVE),
    (re.compile(rb"/invocations$"), Protocol.MLFLOW),
)
# Other paths are asked for health, metadata or explanations, and answer in other forms.
_V1_INFERENCE: Final = re.compile(rb":(?:predict|classify|regress)$")
_INFERENCE: Final = {
    Protocol.KSERVE_V1: _V1_INFERENCE,
    Protocol.TF_SERVING: _V1_INFERENCE,
    Protocol.OIP_V2: re.compile(rb"/(?:infer|generate)(?:_stream)?$"),
    Protocol.MLFLOW: re.compile(rb"/invocations$"),
    Protocol.TORCHSERVE: re.compile(rb"/predictions/|:predict$"),
    Protocol.OPENAI: re.compile(rb"/(?:completions|embeddings|responses)$"),
    Protocol.ANTHROPIC: re.compile(rb"/messages$"),
}
_OPENAI_ENDINGS: Final = (
    (b"/chat/completions", CHAT),
    (b"/completions", COMPLETIONS),
    (b"/responses", RESPONSES),
)


def spoken(declared: Protocol, path: bytes) -> Protocol:
    """The protocol answers to this path are in; AUTO where nothing tells.

    Args:
        declared: What the model was registered with; only AUTO is told from the path.
        path: The request target, with or without a query.
    """
    if declared is not Protocol.AUTO:
        return declared
    bare = path.partition(b"?")[0]
    return next((protocol for form, protocol in _PATHS if form.search(bare)), Protocol.AUTO)


def answers_inference(protocol: Protocol, path: bytes) -> bool:
    """Whether answers to this path hold what this protocol, as `spoken` tells it, calls a prediction."""
    form = _INFERENCE.get(protocol)
    return form is None or form.search(path.partition(b"?")[0]) is not None


def ending(protocol: Protocol, path: bytes) -> Ending | None:
    """What a stream of this protocol, as `spoken` tells it, has to end with; None where nothing is promised."""
    bare = path.partition(b"?")[0]
    if protocol is Protocol.OPENAI:
        return next((end for suffix, end in _OPENAI_ENDINGS if bare.endswith(suffix)), None)
    if protocol is Protocol.ANTHROPIC and bare.endswith(b"/messages"):
        return MESSAGES
    return None
