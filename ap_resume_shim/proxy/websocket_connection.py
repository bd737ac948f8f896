"""The WebSocket connection to the server: what is used of websockets without being documented stands here.

- `ClientProtocol.send_request` is replaced, and `writes`, `key` and `available_subprotocols` are read: the documented
  way to make a request takes a URL, which would change it, and sorts out header fields.
- `ClientConnection` is made without `connect()`, with `handshake()`, and `process_event` is extended.

`tests/test_foreign_parts.py` fails when one of them is gone; `pyproject.toml` has the newest version that was tested.
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
    """The server's side of the protocol. The request is written as the client wrote it: a URL would change it."""

    def __init__(self, target: bytes, headers: HeaderList, subprotocols: Sequence[str], limit: int) -> None:
        nowhere = WebSocketURI(False, "", 0, "", "")
        offered = [Subprotocol(name) for name in subprotocols]
        super().__init__(nowhere, subprotocols=offered or None, max_size=limit)
        self._target = target
        self._headers = [field for field in headers if not field[0].startswith(b"sec-websocket-")]

    def send_request(self, request: Request) -> None:
        """Write the request."""
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
    """The connection to the server. It never pings: a server that is slow to read is slow to answer, too."""

    def __init__(self, handshake: Handshake) -> None:
        super().__init__(handshake, ping_interval=None, close_timeout=None, max_queue=0)

    def process_event(self, event: Event) -> None:
        """After the server's close, do not wait for it to close the connection as well."""
        super().process_event(event)
        if isinstance(event, Frame) and event.opcode is Opcode.CLOSE:
            self.transport.close()
