"""What a client gets for a resume, and how the suites against real servers connect."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx

from ap_resume_shim.core.protocol import Mode
from ap_resume_shim.core.sse import Decoder
from tests import draft

KEPT = httpx.Limits(keepalive_expiry=1.0)
"""Servers close idle connections after 5 seconds, as httpx does: a request on a closing one fails on a busy machine."""


@dataclass(frozen=True)
class Outcome:
    """What a client got for a resume, in whichever mode: what the draft says that it gets."""

    response: httpx.Response
    mode: Mode

    def __post_init__(self) -> None:
        if self.response.is_error:
            draft.check("ErrorResponse", self.response.json())
        elif self.mode is not Mode.STREAM:
            draft.check("RunWaitResponse" if self.mode is Mode.WAIT else "Run", self.response.json())

    @property
    def status(self) -> int:
        return self.response.status_code

    @property
    def text(self) -> str:
        return self.response.text

    @property
    def code(self) -> str | None:
        return None if self.response.is_success else str(self.response.json()["code"])

    @property
    def metadata(self) -> dict[str, Any]:
        metadata: dict[str, Any] = self.response.json()["metadata"]
        return metadata

    @property
    def events(self) -> list[tuple[str | None, Any]]:
        """The events of a stream, comments left out."""
        decoded = Decoder().feed(self.response.content)
        return [(event.name, event.json) for event in decoded if event.data is not None]

    @property
    def names(self) -> list[str | None]:
        """The names of the stream's events."""
        return [name for name, _ in self.events]

    @property
    def run(self) -> dict[str, Any]:
        """The run of a background or wait answer."""
        value: dict[str, Any] = self.response.json()
        return value["run"] if self.mode is Mode.WAIT else value

    @property
    def run_id(self) -> str:
        return str(self.events[0][1]["run_id"] if self.mode is Mode.STREAM else self.run["run_id"])
