"""TCP keep-alive: the kernel probes a silent peer, so that one that vanished does not hold a socket for ever.

Streams and tunnels may be silent for hours, so silence itself has no limit by default. A peer that lost its network or
its power sends no FIN: after `SILENT` seconds the kernel probes it, and after `PROBES` probes without an answer the
connection is over, two minutes after the last byte.
"""

from __future__ import annotations

import socket

SILENT = 60
"""Seconds of silence before the first probe."""
BETWEEN = 15
"""Seconds between probes."""
PROBES = 4
"""Unanswered probes after which the connection is over."""

# macOS has another name for the first, and not every system has all of them.
_NAMED = {"TCP_KEEPIDLE": SILENT, "TCP_KEEPALIVE": SILENT, "TCP_KEEPINTVL": BETWEEN, "TCP_KEEPCNT": PROBES}

KEEP_ALIVE: tuple[tuple[int, int, int], ...] = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    *((socket.IPPROTO_TCP, getattr(socket, name), value) for name, value in _NAMED.items() if hasattr(socket, name)),
)
"""Socket options, as `setsockopt` takes them. Accepted sockets inherit those of the listening one."""


def keep_alive(connection: socket.socket | None) -> None:
    """Set them on a TCP socket; a Unix socket has no network that could vanish."""
    if connection is not None and connection.family in (socket.AF_INET, socket.AF_INET6):
        for option in KEEP_ALIVE:
            connection.setsockopt(*option)
