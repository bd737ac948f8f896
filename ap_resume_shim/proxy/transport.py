"""The interface between `ReverseProxy` and the HTTP client that sends its requests.

A `Transport` sends requests unchanged: it has no cookie jar, follows no redirects, reads no environment variables and
adds no header fields. There are two:

- `HttpxTransport` needs only httpx.
- `Http1Transport`, on httptools, is about ten times as fast, and supports 1xx responses, trailers and upgrades.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

from ap_resume_shim.core.asgi import HeaderList
from ap_resume_shim.core.errors import ConfigurationError, UpstreamError, UpstreamTimeout, UpstreamUnreachable

if TYPE_CHECKING:
    import asyncio


@dataclass(frozen=True, slots=True)
class Address:
    """The address of a server."""

    url: str
    """The URL as configured, for messages."""
    scheme: str
    """`http` or `https`."""
    host: str
    port: int
    uds: str | None = None
    """Path of a Unix socket; if it is set, `host` and `port` are not used to connect."""
    base: bytes = b""
    """Path that is prepended to the path of each request, without a slash at its end."""
    tls: ssl.SSLContext | None = None
    """For https. None: the certificates of the system."""
    connect: float = 5.0
    """Maximum time to connect, in seconds."""

    @property
    def authority(self) -> bytes:
        """The value of `Host` for this server."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        usual = self.port == {"http": 80, "https": 443}[self.scheme]
        return (host if usual else f"{host}:{self.port}").encode()

    @property
    def origin(self) -> str:
        """The address in normal form: scheme and host in lower case, without the default port of the scheme."""
        return f"unix:{self.uds}" if self.uds else f"{self.scheme}://{self.authority.decode()}{self.base.decode()}"

    @classmethod
    def parse(cls, url: str, *, tls: ssl.SSLContext | None = None, connect: float = 5.0) -> Address:
        """Parse `http://host:port/base`, `https://…` or `unix:/path`.

        Raises `ConfigurationError`, whose message never contains a password.
        """
        if url.startswith("unix:"):
            path = "/" + url.removeprefix("unix:").lstrip("/")
            if path == "/":
                raise ConfigurationError(f"{url!r} names no socket: write it as unix:/path/of/the/socket.")
            if not hasattr(socket, "AF_UNIX"):
                raise ConfigurationError(
                    f"{url!r} is a Unix socket, and this system has none: write it as http://host:port."
                )
            return cls(url, "http", "localhost", 80, uds=path, connect=connect)
        try:
            parsed = urlsplit(url)
            host, port = (parsed.hostname or "").encode("idna").decode(), parsed.port
            base = parsed.path.rstrip("/").encode("ascii")
        except ValueError as error:
            reason = "write it as http://host:port" if "@" in url else error  # which may quote a part of a password
            raise ConfigurationError(f"{url!r} is not the address of a server: {reason}.") from None
        if parsed.scheme not in ("http", "https") or not host or parsed.query or parsed.fragment or " " in url:
            raise ConfigurationError(f"{url!r} is not the address of a server: write it as http://host:port.")
        if parsed.username is not None:
            raise ConfigurationError("The address of a server holds no user name: clients send their own credentials.")
        if tls is not None and parsed.scheme != "https":
            raise ConfigurationError(f"Certificates are for https, and {url!r} is not: write it as https://host:port.")
        port = port or {"http": 80, "https": 443}[parsed.scheme]
        return cls(url.rstrip("/"), parsed.scheme, host, port, base=base, tls=tls, connect=connect)


class ClientDisconnected(Exception):
    """The client disconnected before its request or its response was complete."""


class RequestBody(Protocol):
    """The body of a client's request, read as it arrives."""

    trailers: HeaderList
    """The trailer fields; complete after the last `read`."""

    async def read(self) -> tuple[bytes, bool]:
        """Return the next bytes, which may be empty, and True if more follow. Raises `ClientDisconnected`."""
        ...

    def stop_reading(self) -> None:
        """Called when no more will be read, even if the body is incomplete."""
        ...


@dataclass(slots=True)
class UpstreamRequest:
    """A request to the server. The header fields are complete, including those of the framing, and sent unchanged."""

    method: str
    target: bytes
    """The escaped path and query, as in the request line."""
    headers: HeaderList
    body: RequestBody | None = None
    """None if the request has no body; the header fields then announce none."""
    chunked: bool = False
    """True if the body is sent with `Transfer-Encoding: chunked`; False if it has a `Content-Length`."""
    expects_continue: bool = False
    """True for `Expect: 100-continue`: the body is read only after the server has responded with 100, or has not
    responded for a while."""
    upgrades: bool = False
    """True if the request asks for an upgrade. Otherwise a response of 101 is an error."""
    fence: Callable[[], None] | None = None
    """Called when the connection is open, before the first byte is sent. If it raises, nothing is sent, and `head`
    raises the same exception. A request with a fence is sent only once, and on a new connection: see
    `ap_resume_shim.http1.client`."""


class UpstreamExchange(Protocol):
    """One request and its response.

    Used by one task: first `head`, until `status` is a final one, then `read`, until it returns no bytes. `close` is
    always called at the end.
    """

    @property
    def status(self) -> int:
        """The status of the latest head; 0 before the first one."""
        ...

    @property
    def headers(self) -> HeaderList:
        """The header fields of the latest head."""
        ...

    @property
    def trailers(self) -> HeaderList:
        """The trailer fields; complete when the body has ended."""
        ...

    async def head(self) -> None:
        """Wait for the next head, and store it in `status` and `headers`. The first call sends the request.

        Informational heads (1xx other than 100) come before the final one; not every transport reports them. Raises
        `UpstreamFailure`, `ClientDisconnected` after `close` or if the client disconnected in the middle of its body,
        and the exception of the fence.
        """
        ...

    async def read(self) -> bytes:
        """Return the next bytes of the body; no bytes at its end. Raises `UpstreamFailure` if it is incomplete."""
        ...

    @property
    def eof(self) -> bool:
        """True if the body is known to have ended, so that `read` would return no bytes."""
        ...

    def close(self) -> None:
        """End the exchange. If the response is incomplete, close its connection, so that the server notices at once."""
        ...

    def detach(self) -> tuple[asyncio.Transport, bytes]:
        """After a 101: return the connection, with reading paused, and the bytes that were already read from it.

        The caller owns the connection from now on.
        """
        ...


class Transport(Protocol):
    """Sends requests to one address, and keeps its connections. Belongs to one event loop."""

    upgrades: bool
    """True if the transport supports upgrades."""
    trailers: bool
    """True if the transport sends and reports trailer fields."""

    def __init__(self, address: Address) -> None: ...

    def start(self, request: UpstreamRequest) -> UpstreamExchange:
        """Return the exchange of a request. Nothing is sent before `head` is awaited."""
        ...

    async def aclose(self) -> None:
        """Close all connections."""
        ...


def unreachable(address: Address, error: Exception) -> UpstreamUnreachable:
    """Return the error for a connection that could not be opened; nothing was sent."""
    detail = f"No connection to the backend at {address.url}: {_reason(error)}. Is it running?"
    return UpstreamUnreachable("The backend cannot be reached: the log of the shim has the reason.", detail=detail)


def broken_off(address: Address, why: Exception | str, what: str = "broke off") -> UpstreamError:
    """Return the error for a response that is invalid or incomplete. `what` is the predicate of both messages."""
    detail = f"The backend at {address.url} {what}: {_reason(why)}."
    return UpstreamError(f"The backend {what}: the log of the shim has the reason.", detail=detail)


def too_slow(address: Address, what: str) -> UpstreamTimeout:
    """Return the error for a server that took too long. `what` is the predicate of both messages."""
    return UpstreamTimeout(f"The backend {what}.", detail=f"The backend at {address.url} {what}.")


def _reason(error: Exception | str) -> str:
    return (str(error) or type(error).__name__).rstrip(".")
