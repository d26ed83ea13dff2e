"""A client that opens connections with half a head and keeps them; a program, started by test_ports.py.

`HALF_HEADS PORT COUNT`: for each line of the input it lets go of all it has and opens them anew, then says how many.
"""

import socket
import sys


def main() -> None:
    port, count = map(int, sys.argv[1:])
    kept: list[socket.socket] = []
    for line in sys.stdin:
        for each in kept:
            each.close()
        kept = [socket.create_connection(("127.0.0.1", port)) for _ in range(count if line.strip() == "open" else 0)]
        for each in kept:
            # Whoever was refused already cannot be written to.
            try:
                each.sendall(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nx-slow: ")
            except ConnectionError:
                continue
        sys.stdout.write(f"{len(kept)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
