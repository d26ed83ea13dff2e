"""The one exchange that every load sends and the upstream answers: 1 KiB of JSON each way.

Rule: every peer gets the same message, with the eight headers that a usual client sends. A numbered
request has a ninth, an id of its own, so that no peer looks cheap for knowing a head again.
"""

SIZE = 1024
PATH = "/v2/models/bench/infer"

_REQUEST_OPEN = b'{"inputs":[{"name":"x","shape":[1,4],"datatype":"FP64","data":[1.5,2.25,-3.0,4.125]}],"id":"'
_ANSWER_OPEN = b'{"model_name":"bench","outputs":[{"name":"p","shape":[1],"datatype":"FP64","data":[0.25]}],"id":"'
_CLOSE = b'"}'


def _padded(opening: bytes) -> bytes:
    return opening + b"a" * (SIZE - len(opening) - len(_CLOSE)) + _CLOSE


REQUEST_BODY = _padded(_REQUEST_OPEN)
ANSWER_BODY = _padded(_ANSWER_OPEN)

# With Host and Content-Length, which belong to one request, these are the eight.
HEADERS = {
    "User-Agent": "python-requests/2.32.3",
    "Accept": "*/*",
    "Accept-Encoding": "gzip, deflate",
    "Connection": "keep-alive",
    "Content-Type": "application/json",
    "Authorization": "Bearer 0123456789abcdef0123456789abcdef",
}


def request(port: int, number: int | None = None) -> bytes:
    """The whole request as it goes over the wire to a server on loopback."""
    own_id = b"" if number is None else b"X-Request-Id: %012d\r\n" % number
    return _head(port).encode() + own_id + b"\r\n" + REQUEST_BODY


def _head(port: int) -> str:
    """All of the head that is the same in every request."""
    lines = [f"POST {PATH} HTTP/1.1", f"Host: 127.0.0.1:{port}"]
    lines += [f"{name}: {text}" for name, text in HEADERS.items()]
    return "\r\n".join([*lines, f"Content-Length: {SIZE}", ""])


def answer() -> bytes:
    """The whole answer as the upstream writes it."""
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {SIZE}\r\n\r\n"
    return head.encode() + ANSWER_BODY


def wrk_script(port: int, *, numbered: bool) -> str:
    """The same requests for wrk, in Lua."""
    head = _head(port).replace("\r\n", "\\r\\n")
    if not numbered:
        return f"""local whole = '{head}\\r\\n{REQUEST_BODY.decode()}'
request = function() return whole end
"""
    return f"""local number = 0
local head = "{head}X-Request-Id: "
local body = '\\r\\n\\r\\n{REQUEST_BODY.decode()}'
request = function()
  number = number + 1
  return head .. string.format("%012d", number) .. body
end
"""
