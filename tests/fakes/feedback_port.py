"""A gateway's inference listener that answers as it is told to, on a real socket."""

import json
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, NamedTuple, Self


class Heard(NamedTuple):
    """One request; `headers` by lower-case name."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def document(self) -> Any:  # noqa: ANN401 -- whatever was sent
        return json.loads(self.body)


class Said(NamedTuple):
    """One answer; status 0 hangs up without any."""

    status: int
    document: object = None
    headers: Mapping[str, str] = {}


def taken(heard: Heard) -> Said:
    """Every label joins its prediction."""
    counts = {"joined": len(heard.document), "pending": 0, "duplicate": 0, "orphan": 0, "unknown": 0, "invalid": 0}
    return Said(202, {**counts, "items": []})


class FeedbackPort:
    """Keeps what it hears; answers the n-th request with the n-th of `says`, and all later ones with the last."""

    def __init__(self, *says: Callable[[Heard], Said]) -> None:
        self.heard: list[Heard] = []
        self._says = says or (taken,)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, args=[0.01])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def answer(self, heard: Heard) -> Said:
        self.heard.append(heard)
        return self._says[min(len(self.heard), len(self._says)) - 1](heard)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        port = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                said = port.answer(Heard(self.path, headers, body))
                if said.status:
                    self._write(said)
                self.close_connection = True

            def _write(self, said: Said) -> None:
                content = json.dumps(said.document).encode()
                self.send_response(said.status)
                for name, value in {**said.headers, "content-length": str(len(content))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                """Nothing: what was said is kept."""

        return Handler
