"""`ResponseFraming`: delimits the body of a response to a client."""

from __future__ import annotations

from ap_resume_shim.core.asgi import HeaderList


class ResponseFraming:
    """The framing of one response: by `Content-Length`, in chunks, or by the end of the connection."""

    __slots__ = ("_no_body", "_remaining", "chunked", "drops_trailers", "trailers")

    def __init__(self, no_body: bool, length: int | None, may_chunk: bool, trailers: bool) -> None:
        """Choose the framing.

        - `no_body`: True if the method or the status excludes a body; parts of it are then not sent.
        - `length`: the `Content-Length`; None if the response has none.
        - `may_chunk`: False for HTTP/1.0.
        - `trailers`: True if the app has announced a trailer section, which only a chunked response can have.
        """
        self._no_body = no_body
        self._remaining = length
        """Outstanding bytes of the body; None without `Content-Length`."""
        self.chunked = may_chunk and length is None and not no_body
        self.trailers = trailers and self.chunked
        """True if a trailer section ends the response."""
        self.drops_trailers = trailers and not self.chunked

    @property
    def ends_at_close(self) -> bool:
        """True if neither a length nor a chunk marks the end: only the end of the connection does."""
        return self._remaining is None and not self.chunked

    def encode(self, body: bytes, more: bool) -> bytes:
        """Return the bytes to send for a part of the body; if not `more`, with the end of the body.

        Raises `RuntimeError` if the length of the body differs from `Content-Length`.
        """
        if self.chunked:
            if body:
                body = b"%x\r\n%b\r\n" % (len(body), body)
            return body if more else body + b"0\r\n\r\n"
        if self._no_body:
            return b""
        if self._remaining is not None:
            self._remaining -= len(body)
            if self._remaining < 0 or (self._remaining and not more):
                raise RuntimeError("The length of the response's body differs from its Content-Length.")
        return body

    def encode_trailers(self, trailers: HeaderList) -> bytes:
        """Return the bytes of the last chunk and the trailer section."""
        return b"0\r\n%b\r\n" % b"".join(b"%b: %b\r\n" % field for field in trailers)
