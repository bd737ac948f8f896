"""The WebSocket connection to the server. This module contains all uses of undocumented parts of websockets:

- `ClientProtocol.send_request` is overridden, and `writes`, `key` and `available_subprotocols` are read. The documented
  way to make a request takes a URL, which would change the target, and adds header fields of its own.
- `ClientConnection` is created without `connect()`, `handshake()` is called, and `process_event` is extended.

`tests/test_foreign_parts.py` fails if one of them disappears; `pyproject.toml` has the newest version that was tested.
"""

from __future__ import annotations

from collections.abc import Sequence

from websockets.asyncio.client import ClientConnection
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import Event
from websockets.typing import Subprotocol
from websockets.uri import WebSocketURI

from ap_resume_shim.core.asgi import HeaderList


class Handshake(ClientProtocol):
    """The protocol towards the server. Sends the client's target and header fields unchanged."""

    def __init__(self, target: bytes, headers: HeaderList, subprotocols: Sequence[str], max_message: int) -> None:
        nowhere = WebSocketURI(False, "", 0, "", "")
        offered = [Subprotocol(name) for name in subprotocols]
        super().__init__(nowhere, subprotocols=offered or None, max_size=max_message)
        self._target = target
        self._headers = [field for field in headers if not field[0].startswith(b"sec-websocket-")]

    def send_request(self, request: Request) -> None:
        """Write the opening handshake (RFC 6455, section 4.1)."""
        ours = [
            (b"connection", b"Upgrade"),
            (b"upgrade", b"websocket"),
            (b"sec-websocket-version", b"13"),
            (b"sec-websocket-key", self.key.encode()),
        ]
        if self.available_subprotocols is not None:
            ours.append((b"sec-websocket-protocol", ", ".join(self.available_subprotocols).encode()))
        lines = [b"GET %b HTTP/1.1" % self._target, *(b"%b: %b" % field for field in [*self._headers, *ours])]
        self.writes.append(b"\r\n".join([*lines, b"", b""]))


class WebSocketConnection(ClientConnection):
    """The connection to the server. Sends no pings: a server that reads slowly would miss the deadline of a pong."""

    def __init__(self, handshake: Handshake) -> None:
        super().__init__(handshake, ping_interval=None, close_timeout=None, max_queue=0)

    def process_event(self, event: Event) -> None:
        """After the server's close frame, close the connection without waiting for the server to do it."""
        super().process_event(event)
        if isinstance(event, Frame) and event.opcode is Opcode.CLOSE:
            self.transport.close()
