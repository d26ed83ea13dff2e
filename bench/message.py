"""What every load sends and the upstream answers, byte for byte.

Rule: every peer gets the same message, with the eight headers that a usual client sends. A numbered
request has a ninth, an id of its own, so that no peer looks cheap for knowing a head again.
"""

from dataclasses import dataclass

SIZE = 1024
LARGE_SIZE = 100 * 1024
EVENTS = 100
EVENT_INTERVAL_S = 0.01
# The data plane with many models serves this one and `bench-00000` onwards.
MODEL = "bench"
# How many paths a rotating load goes round.
PATHS = 64

_REQUEST_OPEN = b'{"inputs":[{"name":"x","shape":[1,4],"datatype":"FP64","data":[1.5,2.25,-3.0,4.125]}],"id":"'
_ANSWER_OPEN = b'{"model_name":"bench","outputs":[{"name":"p","shape":[1],"datatype":"FP64","data":[0.25]}],"id":"'
_CHAT_OPEN = b'{"model":"bench","messages":[{"role":"user","content":"'
_CHAT_CLOSE = b'"}]}'
_CLOSE = b'"}'


def _padded(opening: bytes, size: int, close: bytes = _CLOSE) -> bytes:
    return opening + b"a" * (size - len(opening) - len(close)) + close


@dataclass(frozen=True, slots=True)
class Message:
    """One kind of exchange.

    Attributes:
        paths: Where its requests go, in turn.
        body: Of every request.
        answer: The body of the right answer; None where every answer is another one.
    """

    name: str
    paths: tuple[str, ...]
    body: bytes
    answer: bytes | None


def model_name(number: int) -> str:
    """The name of one of many models."""
    return f"{MODEL}-{number:05d}"


def _infer(name: str, *paths: str) -> Message:
    return Message(name, paths, _padded(_REQUEST_OPEN, SIZE), _padded(_ANSWER_OPEN, SIZE))


INFER = _infer("infer", f"/v2/models/{MODEL}/infer")
# The same number of different heads, to one model and to as many.
MANY_PATHS = _infer("many_paths", *(f"/v2/models/{MODEL}/path-{number:04d}/infer" for number in range(PATHS)))
MANY_MODELS = _infer("many_models", *(f"/v2/models/{model_name(number)}/infer" for number in range(PATHS)))
LARGE = Message(
    "large", (f"/v2/models/{MODEL}/large",), _padded(_REQUEST_OPEN, LARGE_SIZE), _padded(_ANSWER_OPEN, LARGE_SIZE)
)
STREAM = Message("stream", (f"/v2/models/{MODEL}/stream",), _padded(_REQUEST_OPEN, SIZE), None)
CHAT = Message("chat", ("/v1/chat/completions",), _padded(_CHAT_OPEN, SIZE, _CHAT_CLOSE), None)
MESSAGES = {message.name: message for message in (INFER, MANY_PATHS, MANY_MODELS, LARGE, STREAM, CHAT)}

# With Host and Content-Length, which belong to one request, these are the eight.
HEADERS = {
    "User-Agent": "python-requests/2.32.3",
    "Accept": "*/*",
    "Accept-Encoding": "gzip, deflate",
    "Connection": "keep-alive",
    "Content-Type": "application/json",
    "Authorization": "Bearer 0123456789abcdef0123456789abcdef",
}


def request(port: int, message: Message = INFER, *, turn: int = 0, number: int | None = None) -> bytes:
    """A whole request as it goes over the wire to a server on loopback.

    Args:
        turn: Which of the message's paths it goes to.
        number: An id of its own.
    """
    own_id = b"" if number is None else b"X-Request-Id: %012d\r\n" % number
    return _head(port, message, turn).encode() + own_id + b"\r\n" + message.body


def _head(port: int, message: Message, turn: int) -> str:
    """All of the head that is the same in every request to one path."""
    lines = [f"POST {message.paths[turn % len(message.paths)]} HTTP/1.1", f"Host: 127.0.0.1:{port}"]
    lines += [f"{name}: {text}" for name, text in HEADERS.items()]
    return "\r\n".join([*lines, f"Content-Length: {len(message.body)}", ""])


def answer(message: Message = INFER) -> bytes:
    """The whole answer as the upstream writes it."""
    body = message.answer or b""
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)
STREAM_END = b"0\r\n\r\n"


def event(number: int) -> bytes:
    """One event of a stream as a chunk of its own; the one after the last says `[DONE]`."""
    token = b'data: {"choices":[{"index":0,"delta":{"content":" token %04d"}}]}\n\n' % number
    text = token if number < EVENTS else b"data: [DONE]\n\n"
    return b"%x\r\n%b\r\n" % (len(text), text)


_REPEATED = "return wholes[number % #wholes + 1]"
_NUMBERED = 'return heads[number % #heads + 1] .. string.format("X-Request-Id: %012d\\r\\n", number) .. body'


def wrk_script(port: int, message: Message = INFER, *, numbered: bool) -> str:
    """The same requests for wrk, in Lua."""
    heads = (_head(port, message, turn).replace("\r\n", "\\r\\n") for turn in range(len(message.paths)))
    listed = ",\n".join(f"'{head}'" for head in heads)
    return f"""local body = '\\r\\n{message.body.decode()}'
local heads = {{
{listed}
}}
local wholes = {{}}
for turn, head in ipairs(heads) do wholes[turn] = head .. body end
local number = -1
request = function()
  number = number + 1
  {_NUMBERED if numbered else _REPEATED}
end
"""
