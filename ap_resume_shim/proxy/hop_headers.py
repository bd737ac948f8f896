"""Hop-by-hop header fields, which belong to one connection and are not forwarded (RFC 9110, section 7.6.1)."""

from __future__ import annotations

from ap_resume_shim.core.asgi import HeaderList
from ap_resume_shim.proxy.loop_detection import LOOP_MARKER

HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"http2-settings",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
"""Names of the fields that belong to one connection (RFC 9110, section 7.6.1; `HTTP2-Settings`: RFC 7540, section
3.2.1). The fields that a `Connection` field lists are hop-by-hop, too."""

FORBIDDEN_TRAILERS = HOP_BY_HOP | {
    b"authorization",
    b"content-encoding",
    b"content-length",
    b"content-range",
    b"content-type",
    b"cookie",
    b"expect",
    b"host",
}
"""Names of fields that are dropped from a trailer section, where they have no meaning or are dangerous (RFC 9110,
section 6.5.1)."""

_REQUIRED = frozenset({b"content-length", b"host"})
_PARSED = frozenset(
    {LOOP_MARKER, b"connection", b"content-length", b"expect", b"host", b"te", b"transfer-encoding", b"upgrade"}
)


class ConnectionInfo:
    """The fields of a request's head that concern its connection and the framing of its body.

    Field names are expected in lower case, as ASGI has them.
    """

    __slots__ = (
        "accepts_trailers",
        "connection_options",
        "expects_continue",
        "has_host",
        "has_length",
        "is_chunked",
        "loop_marker",
        "upgrade",
    )

    def __init__(self, headers: HeaderList) -> None:
        self.is_chunked = self.expects_continue = self.has_host = self.has_length = self.accepts_trailers = False
        self.upgrade: bytes | None = None
        self.loop_marker: bytes | None = None
        """The value of the field `LOOP_MARKER`; several are joined. None if the request has none."""
        self.connection_options: frozenset[bytes] = frozenset()
        """The options in the `Connection` fields, in lower case: `close`, `keep-alive`, or names of fields."""
        for name, value in headers:
            if name in _PARSED:
                self._parse(name, value)

    def _parse(self, name: bytes, value: bytes) -> None:
        if name == b"host":
            self.has_host = True
        elif name == b"connection":
            self.connection_options |= _options(value)
        elif name == b"content-length":
            self.has_length = True
        elif name == b"transfer-encoding":
            self.is_chunked = True
        elif name == b"expect":
            self.expects_continue = value.lower() == b"100-continue"
        elif name == b"upgrade":
            self.upgrade = value
        elif name == LOOP_MARKER:
            self.loop_marker = value if self.loop_marker is None else self.loop_marker + b", " + value
        elif name == b"te":
            self.accepts_trailers = b"trailers" in value.lower()

    @property
    def wants_upgrade(self) -> bool:
        """True if the request asks to upgrade to one other protocol.

        False for HTTP/2 and for TLS: the connection would carry further requests, which would bypass the proxy.
        """
        protocol = (self.upgrade or b"").lower()
        return bool(protocol) and b"," not in protocol and not protocol.startswith((b"h2", b"http", b"tls"))

    def ambiguity(self) -> str | None:
        """Return a message that explains why two servers could parse the request differently; None if they cannot."""
        if self.has_length and self.is_chunked:
            return "The body is announced by its length and in chunks at once: announce it in one way."
        if self.connection_options & _REQUIRED:
            return "The Connection field names a field that every server on the way needs: leave it out there."
        return None


def _options(connection: bytes) -> frozenset[bytes]:
    return frozenset(option.strip().lower() for option in connection.split(b","))


def end_to_end(headers: HeaderList, connection_options: frozenset[bytes] = frozenset()) -> HeaderList:
    """Return the fields that are forwarded, in their order.

    Drops hop-by-hop fields, and those whose names are in `connection_options`.
    """
    dropped = HOP_BY_HOP | connection_options if connection_options else HOP_BY_HOP
    return [field for field in headers if field[0] not in dropped]


def response_headers(headers: HeaderList) -> HeaderList:
    """Return the fields of a response, or of its trailer section, that are forwarded to the client."""
    if HOP_BY_HOP.isdisjoint(dict(headers)):
        return list(headers)
    connection_options: frozenset[bytes] = frozenset()
    for name, value in headers:
        if name == b"connection" and value not in (b"keep-alive", b"close"):
            connection_options |= _options(value)
    return end_to_end(headers, connection_options)
