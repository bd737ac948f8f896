"""`ResponseParser`: parses the responses of one connection with llhttp, one at a time.

It calls a `ResponseHandler` for each head, and collects the parts of the body. A response that cannot be parsed raises
`InvalidResponse`; the bytes after it cannot be parsed either.
"""

from __future__ import annotations

from typing import Protocol

import httptools

from ap_resume_shim.core.asgi import HeaderList

MAX_HEAD = 256 * 1024
"""Maximum size in bytes of a response's head, including informational heads before it, and of its trailer section."""

HEAD, BODY, COMPLETE, UPGRADED = range(4)
"""Progress of a response: waiting for its final head, in its body, complete, or switched to another protocol."""


class InvalidResponse(Exception):
    """A response that is not valid HTTP, not allowed for its request, or too large."""


class ResponseHandler(Protocol):
    """Callbacks of the parser."""

    def on_response_head(self, status: int, headers: HeaderList) -> None:
        """Called when a head is complete, informational or final. Names of `headers` are in lower case."""
        ...


class ResponseParser:
    """Parses the responses of one connection. Its `on_...` methods are called by httptools."""

    __slots__ = (
        "_handler",
        "_llhttp",
        "_may_upgrade",
        "_no_body",
        "_overhead",
        "_parts",
        "fields",
        "headers",
        "keep_alive",
        "progress",
    )

    def __init__(self, handler: ResponseHandler) -> None:
        self._handler = handler
        self._llhttp = httptools.HttpResponseParser(self)
        self._no_body = self._may_upgrade = False
        self.progress = HEAD
        self.headers: HeaderList = []
        """The fields of the latest head."""
        self.fields: HeaderList = []
        """The fields of the section that is parsed; after the response, those of its trailer section."""
        self.keep_alive = False
        """True if the server keeps the connection open after the response; known when its head is complete."""
        self._parts: list[bytes] = []
        self._overhead = 0
        """Bytes since the final head or the last data of the body: of heads, chunk extensions or trailers."""

    def begin(self, parts: list[bytes], no_body: bool, may_upgrade: bool) -> None:
        """Expect the response to a new request, and append the parts of its body to `parts`.

        `no_body` is True for HEAD.
        """
        if self._no_body:  # llhttp still expects the body of the response before
            self._llhttp = httptools.HttpResponseParser(self)
        self._parts, self._no_body, self._may_upgrade = parts, no_body, may_upgrade
        self.progress, self._overhead = HEAD, 0

    def feed(self, data: bytes) -> bytes:
        """Parse the data. Returns the bytes that follow a 101, else none. Raises `InvalidResponse`."""
        self._overhead += len(data)
        try:
            if self._may_upgrade and self.progress == HEAD:
                data = self._feed_head(data)
                if self.progress == UPGRADED:
                    return data
            self._llhttp.feed_data(data)
        except httptools.HttpParserError as error:
            raise InvalidResponse(f"its response is not valid HTTP: {error.__context__ or error}") from None
        if self._overhead > MAX_HEAD and self.progress != COMPLETE:
            section = "head" if self.progress == HEAD else "trailer section"
            raise InvalidResponse(f"the {section} of its response is larger than {MAX_HEAD} bytes")
        return b""

    def close(self) -> None:
        """Called at the end of the connection: break the cycles of references, so that the memory is freed at once."""
        del self._llhttp, self._handler

    def _feed_head(self, data: bytes) -> bytes:
        """Parse line by line up to the end of a head, and return what follows it.

        After a 101, the next byte is no longer HTTP. llhttp gives its position only if the fields are complete, and
        servers send 101 without `Connection: Upgrade`.
        """
        while data and self.progress == HEAD:
            end = data.find(b"\n") + 1 or len(data)
            try:
                self._llhttp.feed_data(data[:end])
            except (httptools.HttpParserError, httptools.HttpParserUpgrade):
                if self.progress != UPGRADED:
                    raise
            data = data[end:]
        return data

    def ends_at_close(self) -> bool:
        """True if the end of the connection is the end of the body."""
        names = {name for name, _ in self.headers}
        return self.progress == BODY and not names & {b"content-length", b"transfer-encoding"}

    # Called by httptools. Exceptions reach `feed` as the context of an `HttpParserError`.

    def on_message_begin(self) -> None:
        """The first byte of a response."""
        if self.progress == COMPLETE:
            raise ValueError("the server sent more than one response")
        self.fields = []

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field of the head or of the trailer section."""
        name, value = name.lower(), value.rstrip(b" \t")
        if name == b"transfer-encoding" and value.lower() != b"chunked":
            raise ValueError(f"the transfer coding {value!r} is not supported")
        self.fields.append((name, value))

    def on_headers_complete(self) -> None:
        """The end of a head, informational or final."""
        status, self.headers, self.fields = self._llhttp.get_status_code(), self.fields, []
        if status < 100:
            raise ValueError(f"the status {status:03} is invalid")
        if status >= 200:
            self.progress, self._overhead = COMPLETE if self._no_body else BODY, 0
            self.keep_alive = self._llhttp.should_keep_alive()  # not available after the end of the message
        elif status == 101:
            if not self._may_upgrade:
                raise ValueError("it switched to another protocol, which the request did not ask for")
            self.progress = UPGRADED
        self._handler.on_response_head(status, self.headers)

    def on_body(self, data: bytes) -> None:
        """Bytes of the body."""
        if self.progress != BODY:
            raise ValueError("the response has a body that is not allowed")
        self._overhead = 0
        self._parts.append(data)

    def on_message_complete(self) -> None:
        """The end of a response, informational or final."""
        if self.progress == BODY:
            self.progress, self._parts = COMPLETE, []
