"""Idle client connections: each had one exchange and waits for its next.

Runs in a process of its own: `python -m bench.idle PORT COUNT` says `idle` when all are there and keeps
them until its standard input ends.
"""

import http.client
import sys
from contextlib import ExitStack, closing

from bench.message import HEADERS, INFER


def exchange(connection: http.client.HTTPConnection) -> None:
    """One exchange that leaves the connection open. Raises: ConnectionError when the answer is not right."""
    connection.request("POST", INFER.paths[0], body=INFER.body, headers=HEADERS)
    got = connection.getresponse()
    if got.read() != INFER.answer or got.will_close:
        raise ConnectionAbortedError(f"status {got.status}, or the connection would be closed")


def main() -> None:
    port, count = map(int, sys.argv[1:])
    with ExitStack() as stack:
        for _ in range(count):
            connection = stack.enter_context(closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)))
            exchange(connection)
        print("idle", flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
