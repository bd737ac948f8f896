"""`RequestParser`: parses the requests of one connection with llhttp, one at a time.

It calls a `RequestHandler` for the head, the parts of the body, and the end. A request that cannot be parsed raises
`Refused`; the bytes after it cannot be parsed either.
"""

from __future__ import annotations

import re
from typing import Protocol

import httptools

from ap_resume_shim.core.asgi import HeaderList
from ap_resume_shim.http1.head import Refused
from ap_resume_shim.http1.request_framing import RequestFraming

METHODS = frozenset(
    b"DELETE GET HEAD POST PUT CONNECT OPTIONS TRACE COPY LOCK MKCOL MOVE PROPFIND PROPPATCH SEARCH UNLOCK BIND REBIND "
    b"UNBIND ACL REPORT MKACTIVITY CHECKOUT MERGE M-SEARCH NOTIFY SUBSCRIBE UNSUBSCRIBE PATCH PURGE MKCALENDAR LINK "
    b"UNLINK SOURCE QUERY PRI".split()
)
"""The methods that llhttp knows, and `PRI`, which begins HTTP/2 and which llhttp refuses."""
FRAMING = frozenset({b"content-length", b"transfer-encoding"})
TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class RequestHandler(Protocol):
    """Callbacks of the parser."""

    def on_request_begin(self) -> None:
        """Called at the first byte of a request."""
        ...

    def on_request_head(
        self,
        method: bytes,
        target: bytes,
        version: str,
        headers: HeaderList,
        upgrade: bool,
        keep_alive: bool,
        expects_continue: bool,
    ) -> None:
        """Called when the head is complete. Raises `Refused`.

        - `target`: as in the request line; `version`: "1.0" or "1.1", or another one that the client sent.
        - `headers`: names in lower case.
        - `upgrade`: True if the request asks for another protocol and has no body.
        - `expects_continue`: True for `Expect: 100-continue`.
        """
        ...

    def on_request_body(self, data: bytes) -> None:
        """Called for each part of the body."""
        ...

    def on_request_end(self, trailers: HeaderList) -> None:
        """Called when the request is complete."""
        ...


class RequestParser:
    """Parses the requests of one connection. Its `on_...` methods are called by httptools."""

    __slots__ = (
        "_expects_continue",
        "_fields",
        "_framing",
        "_handler",
        "_in_message",
        "_llhttp",
        "_max_head",
        "_method",
        "_overhead",
        "_upgrade_framing",
        "_url",
        "in_head",
    )

    def __init__(self, handler: RequestHandler, max_head: int) -> None:
        """`max_head`: maximum size in bytes of a head, a trailer section, or a chunk's extensions."""
        self._handler, self._max_head = handler, max_head
        self._llhttp = httptools.HttpRequestParser(self)
        self._framing = RequestFraming()
        self._url = b""
        self._fields: HeaderList = []
        """The fields of the head; after its end, those of the trailer section."""
        self._upgrade_framing: HeaderList = []
        """The field that announces the body of a request for an upgrade, until a new parser has read it."""
        self._method: bytes | None = None
        self._overhead = 0
        """Bytes since the last complete head or the last data of a body: of a head, chunk extensions, or trailers."""
        self._in_message = self._expects_continue = False
        self.in_head = False
        """True from the first byte of a request until its head is complete."""

    def feed(self, data: bytes, start: int) -> int:
        """Parse the next part of `data`, from `start`, and return its end. A part never extends beyond a request.

        Raises `Refused`.
        """
        end = self._framing.next_end(data, start)
        part = data[start:end]
        self._overhead += len(part)
        try:
            self._llhttp.feed_data(part if self._in_message else self._with_known_method(part))
        except httptools.HttpParserUpgrade:
            if self._upgrade_framing:
                self._parse_body()
        except httptools.HttpParserError as error:
            if isinstance(error.__context__, Refused):
                raise error.__context__ from None
            raise Refused(400, f"This is not a request that can be passed on: {str(error).rstrip('.')}.") from None
        else:
            if self._overhead > self._max_head:
                raise self._too_large()
        return end

    def close(self) -> None:
        """Called at the end of the connection: break the cycle of references, so that the memory is freed at once."""
        del self._llhttp

    def _too_large(self) -> Refused:
        return Refused(431, f"The request's head is larger than {self._max_head} bytes.")

    def _with_known_method(self, data: bytes) -> bytes:
        """Replace an unknown method with POST, since llhttp refuses unknown ones.

        A method that is split over two reads is not replaced, and is refused if it is unknown.
        """
        method, space, rest = data.partition(b" ")
        if method in METHODS or not space or not TOKEN.fullmatch(method):
            return data
        self._method = method
        return b"POST " + rest

    def _parse_body(self) -> None:
        """Parse the body of a request for an upgrade with a new parser, which is given the body's length.

        After such a head httptools stops parsing. Without this, the body would be parsed as the next request.
        """
        self._llhttp = httptools.HttpRequestParser(self)
        self._llhttp.feed_data(b"POST / HTTP/1.1\r\n%b: %b\r\n\r\n" % self._upgrade_framing[0])
        self._upgrade_framing.clear()

    # Called by httptools.

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        if self._upgrade_framing:
            return
        self._handler.on_request_begin()
        self._url, self._fields = b"", []
        self.in_head, self._in_message, self._expects_continue = True, True, False

    def on_url(self, url: bytes) -> None:
        """Bytes of the target."""
        if not self._upgrade_framing:
            self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field of the head or of the trailer section."""
        if self._upgrade_framing:
            return
        name = name.lower()
        if name == b"expect":
            self._expects_continue = self.in_head and value.lower() == b"100-continue"
        self._fields.append((name, value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        """The end of the head."""
        if self._upgrade_framing:
            return
        if self._overhead > self._max_head:
            raise self._too_large()
        self.in_head, self._overhead = False, 0
        llhttp, headers, self._fields = self._llhttp, self._fields, []
        method, self._method = self._method or llhttp.get_method(), None
        if upgrades := llhttp.should_upgrade():
            self._upgrade_framing = [field for field in headers if field[0] in FRAMING and field[1] != b"0"]
        self._handler.on_request_head(
            method,
            self._url,
            llhttp.get_http_version(),
            headers,
            upgrades and not self._upgrade_framing,
            llhttp.should_keep_alive(),
            self._expects_continue,
        )
        self._framing.begin_body(headers)

    def on_body(self, data: bytes) -> None:
        """Bytes of the body."""
        self._overhead = 0
        self._handler.on_request_body(data)

    def on_message_complete(self) -> None:
        """The end of the request."""
        if self._upgrade_framing:
            return
        self._in_message, self._overhead, self._framing = False, 0, RequestFraming()
        self._handler.on_request_end(self._fields)
