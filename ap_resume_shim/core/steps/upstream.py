"""Steps that talk to the backend."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ap_resume_shim.core.http import Request, Response
from ap_resume_shim.core.reframer import Reframer
from ap_resume_shim.core.steps.step import Returns


@dataclass(frozen=True, slots=True)
class Ask(Returns[tuple[Response, ...]]):
    """Lookups, made side by side. Result: their responses, in order."""

    requests: tuple[Request, ...]


@dataclass(frozen=True, slots=True)
class ReadUntilIdle(Returns[Response]):
    """A lookup whose response does not end: read until it was silent for `quiet` seconds, or `enough` returns True.

    Result: the `Response`, with the part of the body that was received.
    """

    request: Request
    quiet: float
    enough: Callable[[bytes], bool]


@dataclass(frozen=True, slots=True)
class Send(Returns[Response | None]):
    """The one request that resumes: never sent twice, never cancelled on its way by a client that leaves.

    Result: the `Response` at its head; None where `grace` is given, and no head came within that many seconds: then
    `ReadHead` waits for it. Raises, among others, `HoldLapsed` when it would have been sent too late.
    """

    request: Request
    grace: float | None = None


@dataclass(frozen=True, slots=True)
class ReadHead(Returns[Response]):
    """Wait for the response to a `Send` whose grace was over. Result: the `Response` at its head."""


@dataclass(frozen=True, slots=True)
class Join(Returns[Response]):
    """Open the stream of a run in progress. Result: the `Response` at its head."""

    request: Request


@dataclass(frozen=True, slots=True)
class ReadBody(Returns[bytes]):
    """Read the rest of the response to `Send` or `Join`."""


@dataclass(frozen=True, slots=True)
class ReadEvents(Returns[bytes | None]):
    """Read the beginning of a stream until `begun` returns True, or for `grace` seconds.

    Without a grace, as long as any response is waited for. Result: the bytes; None where the stream ended without any.
    """

    grace: float | None
    begun: Callable[[bytes], bool]


@dataclass(frozen=True, slots=True)
class Drain(Returns[None]):
    """Read the rest of a stream through `reframer`, whose output is discarded."""

    reframer: Reframer
