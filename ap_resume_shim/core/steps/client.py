"""Steps that send the response to the client."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ap_resume_shim.core import strictjson
from ap_resume_shim.core.http import Headers, Response
from ap_resume_shim.core.reframer import Reframer
from ap_resume_shim.core.steps.step import Returns


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete response; `value` is its body, as a JSON value."""

    status: int
    value: Any
    headers: Headers = ()
    media_type: str = "application/json"
    """With `text/event-stream`, the body is a stream with one event, whose data is `value`."""
    body: bytes = field(init=False, repr=False, compare=False)
    """`value` as JSON, encoded once."""

    def __post_init__(self) -> None:
        encoded = strictjson.dumps(self.value)
        if self.media_type == "text/event-stream":
            encoded = b"data: %b\n\n" % encoded
        object.__setattr__(self, "body", encoded)


@dataclass(frozen=True, slots=True)
class StreamReply:
    """A streaming response: `head`, which was already read, and the rest of the exchange, through `reframer`."""

    head: bytes
    reframer: Reframer
    headers: Headers = ()


@dataclass(frozen=True, slots=True)
class OriginalResponse:
    """The backend's own response, unchanged. Unless it is `complete`, the rest of its body follows as it comes."""

    response: Response
    complete: bool = False

    @property
    def headers(self) -> Headers:
        """The headers of the response."""
        return self.response.headers


@dataclass(frozen=True, slots=True)
class SendReply(Returns[None]):
    """Send the response to the client. Ends when the whole response is sent; the flow may continue to clean up."""

    reply: Reply | StreamReply | OriginalResponse


@dataclass(frozen=True, slots=True)
class StartStream(Returns[None]):
    """Start a stream that the flow produces itself."""

    headers: Headers


@dataclass(frozen=True, slots=True)
class SendChunk(Returns[None]):
    """Send the next bytes of that stream."""

    chunk: bytes


@dataclass(frozen=True, slots=True)
class EndStream(Returns[None]):
    """End that stream."""


class ClientGone(Exception):
    """Raised by any step when a client with `on_disconnect: cancel` has disconnected."""
