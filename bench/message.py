"""The one exchange that every load sends and the upstream answers: 1 KiB of JSON each way.

Rule: every peer gets byte for byte the same message, with the eight headers that a usual client sends.
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


def request(port: int) -> bytes:
    """The whole request as it goes over the wire to a server on loopback."""
    lines = [f"POST {PATH} HTTP/1.1", f"Host: 127.0.0.1:{port}"]
    lines += [f"{name}: {text}" for name, text in HEADERS.items()]
    lines += [f"Content-Length: {SIZE}", "", ""]
    return "\r\n".join(lines).encode() + REQUEST_BODY


def answer() -> bytes:
    """The whole answer as the upstream writes it."""
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {SIZE}\r\n\r\n"
    return head.encode() + ANSWER_BODY


def wrk_script() -> str:
    """The same request for wrk, which adds Host and Content-Length itself."""
    lines = ['wrk.method = "POST"', f"wrk.body = '{REQUEST_BODY.decode()}'"]
    lines += [f'wrk.headers["{name}"] = "{text}"' for name, text in HEADERS.items()]
    return "\n".join(lines) + "\n"
