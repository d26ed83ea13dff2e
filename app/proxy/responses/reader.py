"""What the answers of one model say: predictions, scores, token usage, and whether they can be read at all.

Rule: an answer is read from a copy, after its last byte was sent. Whatever its bytes are, reading
them never raises, and takes bounded memory and time.
"""

from collections.abc import Sequence
from math import isclose, isnan
from typing import Final

from app.domain.catalog.json_pointer import MISSING, JsonPointer, json_pointer
from app.domain.catalog.models import Model, Observation, Protocol
from app.domain.evidence.observed import Flaw
from app.domain.evidence.tally import Counter
from app.errors import InvalidInput
from app.proxy.bounds.limits import MAX_BODY
from app.proxy.bounds.memory import HeldPieces, Room
from app.proxy.http1.response_head import EVENT_STREAM, JSON, JSON_LINES, Content, ResponseHead
from app.proxy.responses import reading
from app.proxy.responses.completions import withheld_in
from app.proxy.responses.decoding import Unexpected, Unreadable, decoded, document
from app.proxy.responses.predictions import READERS, read_rows
from app.proxy.responses.protocols import answers_inference, ending, spoken
from app.proxy.responses.reading import NOTHING, Follower, Prediction, Reading
from app.proxy.responses.streams import ObservedStream, StreamJudge, is_failure, tokens
from app.proxy.responses.tensors import RawTensors
from app.proxy.responses.usage import usage_in
from app.proxy.responses.values import MAX_VALUES, Values

_RELATIVE: Final = 1e-6
_ABSOLUTE: Final = 1e-12
# Protocols whose answers may be no JSON at all without being wrong.
_OPAQUE: Final = frozenset((Protocol.AUTO, Protocol.RAW, Protocol.TORCHSERVE, Protocol.BENTOML, Protocol.MLFLOW))
_LANGUAGE: Final = frozenset((Protocol.OPENAI, Protocol.ANTHROPIC))
# Protocols whose answers hold at least one prediction.
_PROMISING: Final = frozenset((Protocol.KSERVE_V1, Protocol.TF_SERVING, Protocol.OIP_V2))
_NOTHING_SAID: Final = Observation()


class Reader:
    """How answers to one path of one model are followed and read; made once.

    Attributes:
        observes: Whether more can be read than how their streams end.
        is_inference: Whether the path asks for a prediction.
    """

    __slots__ = ("_ending", "_prediction", "_protocol", "_room", "_score", "is_inference", "observes")

    def __init__(self, model: Model, path: bytes, room: Room) -> None:
        """Compile what a model declares; a pointer that is none, which nobody can register, reads nothing.

        Args:
            model: The model whose answers are read.
            path: The request target they answer, with or without a query.
            room: Shared by all readers of a process.
        """
        observation = model.observation or _NOTHING_SAID
        self._room = room
        self._protocol = spoken(model.protocol, path)
        self._ending = ending(self._protocol, path)
        self._prediction: JsonPointer | None = None
        self._score: JsonPointer | None = None
        points = observation.prediction is not None or observation.score is not None
        self.is_inference = answers_inference(self._protocol, path)
        self.observes = points if self._protocol is Protocol.RAW else self.is_inference
        try:
            self._prediction = _pointer(observation.prediction)
            self._score = _pointer(observation.score)
        except InvalidInput:
            # Registering one is refused; were one stored all the same, its model's requests must not fail.
            self.observes = False

    def follow(self, head: ResponseHead, *, sampled: bool) -> Follower | None:
        """Who hears this answer's payload; None when nothing can be learned from it.

        Args:
            head: Of an answer that has a body.
            sampled: Whether this is one of the answers to read; how a stream ends is of interest in all.
        """
        if not 200 <= head.status < 300:
            return None
        content = head.content
        observed = sampled and self.observes
        if content.kind in (EVENT_STREAM, JSON_LINES):
            return self._follow_stream(content, observed=observed)
        return Tap(self, content, self._room, head.length) if observed else None

    def tap(self, head: ResponseHead) -> "Tap":
        """A copy of an answer's body, whatever it is."""
        return Tap(self, head.content, self._room, head.length)

    def _follow_stream(self, content: Content, *, observed: bool) -> Follower | None:
        if content.coding:
            # Nothing in it can be seen as it comes.
            return Tap(self, content, self._room, MAX_BODY + 1) if observed else None
        in_lines = content.kind == JSON_LINES
        if observed and self._ending is not None:
            return ObservedStream(self._ending, in_lines=in_lines)
        return StreamJudge(self._ending, in_lines=in_lines, takes_lines=self._protocol is Protocol.OIP_V2)

    def read(self, body: bytes, content: Content) -> Reading:
        """What a whole answer says."""
        try:
            text = decoded(body, content.coding)
        except Unreadable:
            return reading.SKIPPED
        if not content.header_length:
            # Nothing describes the bytes of a raw binary answer.
            return reading.SKIPPED
        header = text if content.header_length < 0 else text[: content.header_length]
        try:
            said, is_nonfinite = document(header)
        except Unexpected:
            is_json = content.kind == JSON or content.header_length >= 0 or self._protocol not in _OPAQUE
            return reading.INVALID if is_json else reading.SKIPPED
        try:
            return self._reading(said, text[len(header) :], is_nonfinite=is_nonfinite)
        except Unexpected:
            return reading.INVALID

    def _reading(self, said: object, raw: bytes, *, is_nonfinite: bool) -> Reading:
        """What a document says. Raises: Unexpected."""
        usage = None
        if isinstance(said, dict):
            if is_failure(said):
                raise Unexpected
            usage = usage_in(said) if "usage" in said else None
        values = self._values(said, raw)
        counters = {Counter.READ: 1}
        if is_nonfinite or values.is_nonfinite:
            counters[Counter.NONFINITE] = 1
        if usage is not None:
            counters |= tokens(usage)
        predictions, scores = tuple(values.predictions[:MAX_VALUES]), tuple(values.scores[:MAX_VALUES])
        return Reading(counters, predictions, scores, usage, self._withheld(said, values))

    def _withheld(self, said: object, values: Values) -> Flaw | None:
        if self._protocol in _LANGUAGE:
            return withheld_in(said) if isinstance(said, dict) else None
        promises = self._prediction is not None or self._protocol in _PROMISING
        return Flaw.EMPTY if promises and not values.predictions else None

    def _values(self, said: object, raw: bytes) -> Values:
        """What is predicted; the protocol is asked for what no pointer points at. Raises: Unexpected."""
        values = Values()
        reads = READERS.get(self._protocol)
        if reads is not None and (self._prediction is None or self._score is None):
            reads(said, RawTensors(raw), values)
        if self._prediction is not None:
            values.predictions = []
            read_rows(_pointed(self._prediction, said), values)
        if self._score is not None:
            values.scores = []
            values.score(_pointed(self._score, said))
        return values


class Tap(Follower):  # ADR 0055
    """Keeps the copy of one answer until it is read."""

    __slots__ = ("_content", "_first", "_is_over", "_more", "_reader", "_room", "_size")

    def __init__(self, reader: Reader, content: Content, room: Room, length: int) -> None:
        """Begin to keep an answer.

        Args:
            length: How many bytes will come, -1 when that is not known; too many are not kept at all.
        """
        self._reader = reader
        self._content = content
        self._room = room
        self._is_over = length > MAX_BODY
        self._size = 0
        self._first = b""
        self._more: HeldPieces | None = None

    @property
    def body(self) -> bytes | None:
        """What has come, None when it was too much."""
        if self._is_over:
            return None
        return self._first if self._more is None else self._first + self._more.data

    def feed(self, payload: bytes) -> None:
        if self._is_over or not payload:
            return
        size = self._size = self._size + len(payload)
        if size == len(payload) and size <= MAX_BODY:
            # Mostly this is all, and held by others as well.
            self._first = payload
        elif size > MAX_BODY or self._room.left < len(payload):
            self._is_over = True
            self._let_go()
        else:
            if self._more is None:
                self._more = HeldPieces(self._room)
            self._more.add(payload)

    def ended_well(self, *, clean_end: bool) -> bool:
        return clean_end

    def read(self, *, clean_end: bool) -> Reading:
        """What a whole answer said; nothing of one that broke off."""
        body = self.body
        self._let_go()
        if not clean_end:
            return NOTHING
        return reading.SKIPPED if body is None else self._reader.read(body, self._content)

    def _let_go(self) -> None:
        self._first = b""
        self._more = None


def agree(primary: Reading, mirror: Reading, primary_body: bytes | None, mirror_body: bytes | None) -> bool | None:
    """Whether two answers to one request say the same; None when that cannot be told.

    Args:
        primary, mirror: What was read; where either predicts, only predictions are compared.
        primary_body, mirror_body: The bodies as they came, None where they were not kept.
    """
    if primary.predictions or mirror.predictions:
        return same_predictions(primary.predictions, mirror.predictions)
    if primary_body is None or mirror_body is None:
        return None
    return primary_body == mirror_body


def same_predictions(left: Sequence[Prediction], right: Sequence[Prediction]) -> bool:
    """Whether predictions are pairwise equal, numbers within a millionth of the larger."""
    return len(left) == len(right) and all(map(_is_same, left, right))


def _is_same(left: Prediction, right: Prediction) -> bool:
    if isinstance(left, str) or isinstance(right, str):
        return left == right
    return isclose(left, right, rel_tol=_RELATIVE, abs_tol=_ABSOLUTE) or (isnan(left) and isnan(right))


def _pointer(text: str | None) -> JsonPointer | None:
    return None if text is None else json_pointer(text)


def _pointed(pointer: JsonPointer, said: object) -> object:
    """The value a pointer points at. Raises: Unexpected."""
    value = pointer.value_in(said)
    if value is MISSING:
        raise Unexpected
    return value
