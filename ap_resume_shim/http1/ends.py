"""How a client's connection ends, where asyncio has no call for it."""

from __future__ import annotations

import asyncio
import select
import socket
import struct

_CLOSED = getattr(select, "POLLRDHUP", 0)
_UNIX = getattr(socket, "AF_UNIX", None)
"""Windows has neither, nor `select.poll`."""


def has_left(transport: asyncio.Transport) -> bool:
    """Whether the client has closed its end, which asyncio notices only while it reads.

    False where the system has no such call (Windows).
    """
    bare = transport.get_extra_info("socket")
    if bare is None or bare.fileno() < 0 or not hasattr(select, "poll"):
        return False
    poll = select.poll()
    poll.register(bare.fileno(), _CLOSED)
    return bool(poll.poll(0))


def reset(transport: asyncio.Transport) -> None:
    """Close with a reset, where there is one: an answer that ends with its connection would look whole otherwise."""
    bare = transport.get_extra_info("socket")
    if bare is not None and bare.family != _UNIX:
        bare.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
