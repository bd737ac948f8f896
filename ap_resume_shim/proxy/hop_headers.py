"""Header fields that belong to one connection, and what they say: pure."""

from __future__ import annotations

HeaderList = list[tuple[bytes, bytes]]

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
"""RFC 9110, section 7.6.1, and RFC 7540, section 3.2.1: fields that belong to one connection. Those that `Connection`
names are added."""

NEVER_AFTER = HOP_BY_HOP | {
    b"authorization",
    b"content-encoding",
    b"content-length",
    b"content-range",
    b"content-type",
    b"cookie",
    b"expect",
    b"host",
}
"""Fields that mean nothing, or something dangerous, after a body (RFC 9110, section 6.5.1)."""

_ESSENTIAL = frozenset({b"content-length", b"host"})
_VISITED = b"ap-resume-shim-hops"
_NOTED = frozenset(
    {_VISITED, b"connection", b"content-length", b"expect", b"host", b"te", b"transfer-encoding", b"upgrade"}
)


class ConnectionInfo:
    """What the head of a request says of its connection and of its body."""

    __slots__ = ("chunked", "expects", "hosts", "length", "named", "trailers", "upgrade", "visited")

    def __init__(self, headers: HeaderList) -> None:
        self.chunked = self.expects = self.hosts = self.length = self.trailers = False
        self.upgrade: bytes | None = None
        self.visited: bytes | None = None
        """The proxies that it passed, where it carries them: see `ap_resume_shim.proxy.loop_detection`."""
        self.named: frozenset[bytes] = frozenset()
        for name, value in headers:
            if name in _NOTED:
                self._note(name, value)

    def _note(self, name: bytes, value: bytes) -> None:
        if name == b"host":
            self.hosts = True
        elif name == b"connection":
            self.named |= _options(value)
        elif name == b"content-length":
            self.length = True
        elif name == b"transfer-encoding":
            self.chunked = True
        elif name == b"expect":
            self.expects = value.lower() == b"100-continue"
        elif name == b"upgrade":
            self.upgrade = value
        elif name == _VISITED:
            self.visited = value if self.visited is None else self.visited + b", " + value
        elif name == b"te":
            self.trailers = b"trailers" in value.lower()

    @property
    def leaves_http(self) -> bool:
        """Whether it asks for another protocol. HTTP/2, or HTTP in TLS, would be the same one, past the proxy."""
        asked = (self.upgrade or b"").lower()
        return bool(asked) and b"," not in asked and not asked.startswith((b"h2", b"http", b"tls"))

    def ambiguity(self) -> str | None:
        """Why two servers on the way could read the request differently; None where they could not."""
        if self.length and self.chunked:
            return "The body is announced by its length and in chunks at once: announce it in one way."
        if self.named & _ESSENTIAL:
            return "The Connection field names a field that every server on the way needs: leave it out there."
        return None


def _options(connection: bytes) -> frozenset[bytes]:
    return frozenset(option.strip().lower() for option in connection.split(b","))


def end_to_end(headers: HeaderList, named: frozenset[bytes] = frozenset()) -> HeaderList:
    """The fields that are not of one connection, nor `named` by it, as they stand."""
    dropped = HOP_BY_HOP | named if named else HOP_BY_HOP
    return [field for field in headers if field[0] not in dropped]


def returned(headers: HeaderList) -> HeaderList:
    """The fields of an answer that go on to the client."""
    named: frozenset[bytes] = frozenset()
    for name, value in headers:
        if name == b"connection" and value not in (b"keep-alive", b"close"):
            named |= _options(value)
    return end_to_end(headers, named)
