"""Steps that answer the client."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ap_resume_shim.core import strictjson
from ap_resume_shim.core.http import Headers
from ap_resume_shim.core.reframer import Reframer
from ap_resume_shim.core.steps.step import Returns


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete answer; `value` is its body, as a JSON value."""

    status: int
    value: Any
    headers: Headers = ()
    body: bytes = field(init=False, repr=False, compare=False)
    """`value` as JSON: encoded once, whoever needs it."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "body", strictjson.dumps(self.value))


@dataclass(frozen=True, slots=True)
class StreamReply:
    """The answer as a stream: `head`, which was read before, and the rest of the exchange, through `reframer`."""

    head: bytes
    reframer: Reframer
    headers: Headers = ()


@dataclass(frozen=True, slots=True)
class Answer(Returns[None]):
    """Answer the client. It ends when the whole answer is sent; the flow may go on to clean up."""

    reply: Reply | StreamReply


@dataclass(frozen=True, slots=True)
class StartStream(Returns[None]):
    """Begin a stream that the flow makes itself."""

    headers: Headers


@dataclass(frozen=True, slots=True)
class SendChunk(Returns[None]):
    """Send the next bytes of that stream."""

    chunk: bytes


@dataclass(frozen=True, slots=True)
class EndStream(Returns[None]):
    """End that stream."""


class ClientGone(Exception):
    """Raised by any step when a client that asked for `on_disconnect: cancel` has left."""
