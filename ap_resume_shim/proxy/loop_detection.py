"""Requests that come back to the proxy that sent them: they are answered with 508, and do not go round again.

Requests that the shim makes carry a field with the random names of the proxies that they passed. A client's request
passes byte for byte, so nothing shows that it was here before, and in a loop each round holds one more connection.
Therefore one request carries the field when `SPACING` more are under way at once than before: it comes back, and its
508 ends all rounds. A loop holds about as many connections as that, unless something removes the field on the way.

Names belong to a process: among several processes, a round ends where it reaches one of them for the second time.
"""

from __future__ import annotations

import secrets

from ap_resume_shim.proxy.forwarded import Fields, LoopDetected

FIELD = b"ap-resume-shim-hops"
SPACING = 64
"""Passed requests under way at once, of which one carries the field."""


class Loops:
    """The loops of one proxy."""

    def __init__(self) -> None:
        self._name = secrets.token_hex(8).encode()
        self._under_way, self._due = 0, SPACING

    def begin(self) -> None:
        """A request is under way."""
        self._under_way += 1

    def end(self) -> None:
        """It is no longer."""
        self._under_way -= 1
        self._due = min(self._due, self._under_way + SPACING)

    def marked(self, headers: Fields, hops: bytes | None, *, own: bool) -> Fields:
        """The fields of a request as they go on; the same list where nothing is added.

        `hops`: the value of the field as it came; `own`: the shim makes the request. Raises `LoopDetected`.
        """
        if hops is None:
            if not own:
                if self._under_way < self._due:
                    return headers
                self._due = self._under_way + SPACING
            return [*headers, (FIELD, self._name)]
        if self._name in hops:
            raise LoopDetected
        return [*(field for field in headers if field[0] != FIELD), (FIELD, hops + b", " + self._name)]
