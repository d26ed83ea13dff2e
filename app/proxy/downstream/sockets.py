"""What a client connection asks of its socket that a transport has no word for."""

import asyncio
import fcntl
import socket
import struct
import sys
import termios
from typing import Final

_NO_BYTES: Final = bytes(4)
_RESET: Final = struct.pack("ii", 1, 0)


def unread(transport: asyncio.Transport) -> int:
    """Bytes written that the client has not taken, here and in the system, where megabytes may lie."""
    raw = transport.get_extra_info("socket")
    held = transport.get_write_buffer_size()
    if raw is None:
        return held
    try:
        return held + int.from_bytes(fcntl.ioctl(raw.fileno(), termios.TIOCOUTQ, _NO_BYTES), sys.byteorder)
    except (OSError, ValueError):
        return held


def reset(transport: asyncio.Transport) -> None:
    """End a connection so that no client takes a broken answer for a whole one."""
    raw = transport.get_extra_info("socket")
    if raw is not None and not transport.is_closing():
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    transport.abort()
