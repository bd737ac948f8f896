"""Two operations that asyncio lacks: detecting that a peer has disconnected, and closing with a reset."""

from __future__ import annotations

import asyncio
import select
import socket
import struct

_PEER_CLOSED = getattr(select, "POLLRDHUP", 0)
_UNIX = getattr(socket, "AF_UNIX", None)
"""Windows has neither of the two, and no `select.poll`."""


def is_disconnected(transport: asyncio.Transport) -> bool:
    """True if the peer has closed its end; asyncio detects that only while it reads.

    Always False on systems without `POLLRDHUP`, such as Windows.
    """
    sock = transport.get_extra_info("socket")
    if sock is None or sock.fileno() < 0 or not hasattr(select, "poll"):
        return False
    poll = select.poll()
    poll.register(sock.fileno(), _PEER_CLOSED)
    return bool(poll.poll(0))


def abort_with_reset(transport: asyncio.Transport) -> None:
    """Close a TCP connection with a reset; other sockets are only closed.

    Needed where the end of the connection is the end of the response: without a reset it would look complete.
    """
    sock = transport.get_extra_info("socket")
    if sock is not None and sock.family != _UNIX:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
