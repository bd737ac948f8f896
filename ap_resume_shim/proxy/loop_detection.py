"""Loop detection: a request that returns to the proxy that sent it receives 508 (RFC 5842, section 7.2).

A client's request is forwarded byte for byte, so the proxy cannot recognise it when it returns, and each round of a
loop opens another connection. Therefore the proxy adds a marker to some requests: a header field with its random name.
A request that arrives with the proxy's own name has completed a round, and the response 508 ends the loop.

The marker is added to

- every request that the shim itself makes, and
- one passed request each time that `SPACING` more requests are in flight than before, so that a loop holds about that
  many connections, unless a server in the loop removes the field.

Each process has its own name. With several processes, the loop ends at the first process that it reaches twice.
"""

from __future__ import annotations

import secrets

from ap_resume_shim.core.asgi import HeaderList
from ap_resume_shim.proxy.forwarded import LoopDetected

LOOP_MARKER = b"ap-resume-shim-hops"
"""Name of the header field. Its value lists the names of the proxies that the request has passed."""
SPACING = 64
"""Number of requests in flight for which one passed request is marked."""


class LoopDetector:
    """Marks the requests of one proxy, and recognises those that return."""

    def __init__(self) -> None:
        self._name = secrets.token_hex(8).encode()
        self.in_flight = 0
        """Number of requests in progress; the proxy counts them."""
        self._next_mark = SPACING

    def mark(self, headers: HeaderList, marker: bytes | None, *, own: bool) -> HeaderList:
        """Return the fields with the marker; the same list if none is needed.

        `marker` is the value of the marker that the request arrived with. `own` is True for a request that the shim
        makes. Raises `LoopDetected`.
        """
        if marker is None:
            if not own:
                self._next_mark = min(self._next_mark, self.in_flight + SPACING)
                if self.in_flight < self._next_mark:
                    return headers
                self._next_mark = self.in_flight + SPACING
            return [*headers, (LOOP_MARKER, self._name)]
        if self._name in marker:
            raise LoopDetected
        return [*(field for field in headers if field[0] != LOOP_MARKER), (LOOP_MARKER, marker + b", " + self._name)]
