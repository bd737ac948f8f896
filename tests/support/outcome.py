"""The response to a resume, and the connection limits for the suites against real servers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx

from ap_resume_shim.core.protocol import Mode
from ap_resume_shim.core.sse import Decoder
from tests import draft

KEPT = httpx.Limits(keepalive_expiry=1.0)
"""Connection limits. Servers and httpx close idle connections after 5 seconds; on a busy machine, a request on a
connection that the server is closing would fail."""


@dataclass(frozen=True)
class Outcome:
    """The response to a resume in any mode. Checks that its body conforms to the draft."""

    response: httpx.Response
    mode: Mode

    def __post_init__(self) -> None:
        if self.response.is_error:
            draft.check("ErrorResponse", self.response.json())
        elif self.mode is not Mode.STREAM:
            draft.check("RunWaitResponse" if self.mode is Mode.WAIT else "Run", self.response.json())

    @property
    def status(self) -> int:
        """The status of the response."""
        return self.response.status_code

    @property
    def text(self) -> str:
        """The body as text."""
        return self.response.text

    @property
    def code(self) -> str | None:
        """The code of an error; None for a success."""
        return None if self.response.is_success else str(self.response.json()["code"])

    @property
    def metadata(self) -> dict[str, Any]:
        """The metadata of an error."""
        metadata: dict[str, Any] = self.response.json()["metadata"]
        return metadata

    @property
    def events(self) -> list[tuple[str | None, Any]]:
        """Name and JSON of each event of the stream, without comments."""
        decoded = Decoder().feed(self.response.content)
        return [(event.name, event.json) for event in decoded if event.data is not None]

    @property
    def names(self) -> list[str | None]:
        """The names of the stream's events."""
        return [name for name, _ in self.events]

    @property
    def run(self) -> dict[str, Any]:
        """The run in a background or wait response."""
        value: dict[str, Any] = self.response.json()
        return value["run"] if self.mode is Mode.WAIT else value

    @property
    def run_id(self) -> str:
        """The id of the run, in any mode."""
        return str(self.events[0][1]["run_id"] if self.mode is Mode.STREAM else self.run["run_id"])
