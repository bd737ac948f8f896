"""TCP keep-alive: the kernel probes a silent peer, so that a peer that has vanished does not hold a socket forever.

Streams and tunnels may be silent for hours, and by default nothing limits that. A peer that lost its network or its
power sends no FIN. After `IDLE` seconds of silence the kernel probes it, and after `PROBES` unanswered probes it closes
the connection: two minutes after the last byte.
"""

from __future__ import annotations

import socket

IDLE = 60
"""Seconds of silence before the first probe."""
INTERVAL = 15
"""Seconds between probes."""
PROBES = 4
"""Number of unanswered probes after which the connection is closed."""

# macOS calls the first option TCP_KEEPALIVE; some systems lack some of them.
_TCP_OPTIONS = {"TCP_KEEPIDLE": IDLE, "TCP_KEEPALIVE": IDLE, "TCP_KEEPINTVL": INTERVAL, "TCP_KEEPCNT": PROBES}

KEEP_ALIVE: tuple[tuple[int, int, int], ...] = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    *(
        (socket.IPPROTO_TCP, getattr(socket, name), value)
        for name, value in _TCP_OPTIONS.items()
        if hasattr(socket, name)
    ),
)
"""Arguments for `setsockopt`. Accepted sockets inherit the options of the listening socket."""


def enable_keep_alive(connection: socket.socket | None) -> None:
    """Set `KEEP_ALIVE` on a TCP socket. Does nothing for a Unix socket or None."""
    if connection is not None and connection.family in (socket.AF_INET, socket.AF_INET6):
        for option in KEEP_ALIVE:
            connection.setsockopt(*option)
