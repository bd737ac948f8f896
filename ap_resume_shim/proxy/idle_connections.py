"""How long a connection to the server may stay idle before its next request.

A server may close an idle connection at any moment, and a request in transit at that moment is lost. Both transports
therefore close an idle connection before the server does.
"""

from __future__ import annotations

import re

from ap_resume_shim.core.asgi import HeaderList

IDLE = 2.0
"""Seconds that a connection may stay idle. Servers that announce no limit usually close it after five."""
MARGIN = 1.0
"""Seconds by which a connection is closed before the limit that its server announces."""

_TIMEOUT = re.compile(rb"\btimeout\s*=\s*(\d{1,9})", re.IGNORECASE)


def idle_limit(response_headers: HeaderList) -> float:
    """Seconds that a connection may stay idle after a response: `IDLE`, or less if `Keep-Alive: timeout=` requires it.

    Zero or less means that the connection must not be used again. Names of headers are in lower case.
    """
    for name, value in response_headers:
        if name == b"keep-alive" and (timeout := _TIMEOUT.search(value)):
            return min(IDLE, int(timeout[1]) - MARGIN)
    return IDLE
