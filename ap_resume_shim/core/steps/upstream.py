"""Steps that send requests to the backend and read its responses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ap_resume_shim.core.http import Request, Response
from ap_resume_shim.core.reframer import Reframer
from ap_resume_shim.core.steps.step import Returns


@dataclass(frozen=True, slots=True)
class Ask(Returns[tuple[Response, ...]]):
    """Send lookups concurrently. Result: their responses, in order.

    A lookup that breaks off is retried once. `once`: for requests that change something, which are never retried.
    """

    requests: tuple[Request, ...]
    once: bool = False


@dataclass(frozen=True, slots=True)
class ReadUntilIdle(Returns[Response]):
    """Send a lookup whose response does not end: read until it is silent for `quiet` seconds, or `enough` returns True.

    Result: the `Response`, with the part of the body that was received.
    """

    request: Request
    quiet: float
    enough: Callable[[bytes], bool]


@dataclass(frozen=True, slots=True)
class Send(Returns[Response | None]):
    """Send the one request that resumes. It is never sent twice, and never cancelled by a client that disconnects.

    Result: the head of the `Response`; None if `grace` is given and no head came within that many seconds. `ReadHead`
    then waits for it. Raises, among others, `HoldLapsed` if it would be sent too late.
    """

    request: Request
    grace: float | None = None


@dataclass(frozen=True, slots=True)
class SendOriginal(Returns[Response]):
    """Send the client's own request, unchanged and once.

    Result: the head of the `Response`, with the body of a failure. If `fenced`, it raises as `Send` does.
    """

    fenced: bool = False


@dataclass(frozen=True, slots=True)
class ReadHead(Returns[Response]):
    """Wait for the response to a `Send` whose grace was over. Result: the head of the `Response`."""


@dataclass(frozen=True, slots=True)
class Join(Returns[Response]):
    """Open the stream of a run in progress. Result: the head of the `Response`."""

    request: Request


@dataclass(frozen=True, slots=True)
class ReadBody(Returns[bytes]):
    """Read the rest of the response to `Send` or `Join`. Result: its bytes."""


@dataclass(frozen=True, slots=True)
class ReadEvents(Returns[bytes | None]):
    """Read the beginning of a stream until `begun` returns True, or for `grace` seconds.

    If `grace` is None, the timeout is that of any response. Result: the bytes; None if the stream ended without any.
    """

    grace: float | None
    begun: Callable[[bytes], bool]


@dataclass(frozen=True, slots=True)
class Drain(Returns[None]):
    """Read the rest of a stream through `reframer`, and discard its output."""

    reframer: Reframer
