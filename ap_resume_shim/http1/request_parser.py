"""`RequestParser`: llhttp, fed with the bytes of one connection up to the end of a request and no further.

What llhttp reads is handed to the connection: the head, the parts of the body, and the end. What cannot be read raises
`Refused`, and what follows it cannot be read either.
"""

from __future__ import annotations

import re
from typing import Protocol

import httptools

from ap_resume_shim.core.asgi import HeaderList
from ap_resume_shim.http1.head import Refused
from ap_resume_shim.http1.request_pieces import Pieces

METHODS = frozenset(
    b"DELETE GET HEAD POST PUT CONNECT OPTIONS TRACE COPY LOCK MKCOL MOVE PROPFIND PROPPATCH SEARCH UNLOCK BIND REBIND "
    b"UNBIND ACL REPORT MKACTIVITY CHECKOUT MERGE M-SEARCH NOTIFY SUBSCRIBE UNSUBSCRIBE PATCH PURGE MKCALENDAR LINK "
    b"UNLINK SOURCE QUERY PRI".split()
)
"""Those that llhttp knows, and the beginning of HTTP/2, which is for it to refuse."""
FRAMING = frozenset({b"content-length", b"transfer-encoding"})
TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class Connection(Protocol):
    """What the parser calls."""

    def on_request_begin(self) -> None:
        """The first byte of a request came."""
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
        """A head is whole. `upgrade`: it asks for another protocol, and has no body. Raises `Refused`."""
        ...

    def on_request_body(self, data: bytes) -> None:
        """A part of the body came."""
        ...

    def on_request_end(self, trailers: HeaderList) -> None:
        """The request is whole."""
        ...


class RequestParser:
    """The requests of one connection, one after the other."""

    __slots__ = (
        "_connection",
        "_expects_continue",
        "_fed",
        "_framing",
        "_headers",
        "_in_message",
        "_llhttp",
        "_max_head",
        "_method",
        "_pieces",
        "_trailers",
        "_url",
        "in_head",
    )

    def __init__(self, connection: Connection, max_head: int) -> None:
        """`max_head`: bytes of a head."""
        self._connection, self._max_head = connection, max_head
        self._llhttp = httptools.HttpRequestParser(self)
        self._pieces = Pieces()
        self._url = b""
        self._headers: HeaderList = []
        self._trailers: HeaderList = []
        self._framing: HeaderList = []
        """What announces a body of a request for an upgrade, while llhttp is given it a second time."""
        self._method: bytes | None = None
        self._fed = 0  # bytes of a head that is not whole, or of what else leads to nothing
        self._in_message = self._expects_continue = False
        self.in_head = False

    def feed(self, data: bytes, at: int) -> int:
        """Parse the piece that begins at `at`, and return where it ends: with a request at the latest.

        Raises `Refused`.
        """
        end = self._pieces.end(data, at)
        piece = data[at:end]
        self._fed += len(piece)
        try:
            self._llhttp.feed_data(piece if self._in_message else self._known(piece))
        except httptools.HttpParserUpgrade:
            if self._framing:
                self._expect_body()
        except httptools.HttpParserError as error:
            if isinstance(error.__context__, Refused):
                raise error.__context__ from None
            raise Refused(400, f"This is not a request that can be passed on: {str(error).rstrip('.')}.") from None
        else:
            if self._fed > self._max_head:
                raise self._too_large()
        return end

    def _too_large(self) -> Refused:
        return Refused(431, f"The request's head is larger than {self._max_head} bytes.")

    def _known(self, data: bytes) -> bytes:
        """llhttp knows the methods that it knows: any other has a stand-in while it parses.

        A method in two reads is refused unless llhttp knows it.
        """
        method, space, rest = data.partition(b" ")
        if method in METHODS or not space or not TOKEN.fullmatch(method):
            return data
        self._method = method
        return b"POST " + rest

    def _expect_body(self) -> None:
        """httptools takes what follows a wish for an upgrade for another protocol. A body is one all the same: else it
        would be read as a request of its own. So a new parser is given its length.
        """
        self._llhttp = httptools.HttpRequestParser(self)
        self._llhttp.feed_data(b"POST / HTTP/1.1\r\n%b: %b\r\n\r\n" % self._framing[0])
        self._framing.clear()

    # Called by httptools.

    def on_message_begin(self) -> None:
        """A request begins."""
        if self._framing:
            return
        self._connection.on_request_begin()
        self._url, self._headers, self._trailers = b"", [], []
        self.in_head, self._in_message, self._expects_continue = True, True, False

    def on_url(self, url: bytes) -> None:
        """A part of the target."""
        if not self._framing:
            self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field of the head, or one after the body."""
        if self._framing:
            return
        name = name.lower()
        if name == b"expect":
            self._expects_continue = self.in_head and value.lower() == b"100-continue"
        (self._headers if self.in_head else self._trailers).append((name, value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        """The head is whole."""
        if self._framing:
            return
        if self._fed > self._max_head:
            raise self._too_large()
        self.in_head, self._fed = False, 0
        llhttp = self._llhttp
        method, self._method = self._method or llhttp.get_method(), None
        if upgrades := llhttp.should_upgrade():
            self._framing = [field for field in self._headers if field[0] in FRAMING and field[1] != b"0"]
        self._connection.on_request_head(
            method,
            self._url,
            llhttp.get_http_version(),
            self._headers,
            upgrades and not self._framing,
            llhttp.should_keep_alive(),
            self._expects_continue,
        )
        self._pieces.body(self._headers)

    def on_body(self, data: bytes) -> None:
        """A part of the body."""
        self._fed = 0
        self._connection.on_request_body(data)

    def on_message_complete(self) -> None:
        """The request is whole."""
        if self._framing:
            return
        self._in_message, self._fed, self._pieces = False, 0, Pieces()
        self._connection.on_request_end(self._trailers)
