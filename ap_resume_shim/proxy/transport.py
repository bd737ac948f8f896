"""The seam below `ReverseProxy`: how a request gets to the server at an address, and its answer back.

A `Transport` passes requests on as they are: no cookie jar, no redirects, no environment, no fields of its own.
`HttpxTransport` needs nothing but httpx; `ap_resume_shim.http1.Http1Transport`, on httptools, is an order of magnitude
faster and knows 1xx answers, trailers and upgrades.
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
    """Where a server listens."""

    url: str
    """As it was given: what messages call it."""
    scheme: str
    """`http` or `https`."""
    host: str
    port: int
    uds: str | None = None
    """Path of a Unix socket, in place of host and port."""
    base: bytes = b""
    """A path that is put before every request's own."""
    tls: ssl.SSLContext | None = None
    """For https; default: the system's certificates."""
    connect: float = 5.0
    """Seconds until a connection has to be there."""

    @property
    def authority(self) -> bytes:
        """What `Host` says to this server."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        usual = self.port == {"http": 80, "https": 443}[self.scheme]
        return (host if usual else f"{host}:{self.port}").encode()

    @property
    def origin(self) -> str:
        """One spelling of the address: scheme and host in lower case, without the scheme's usual port."""
        return f"unix:{self.uds}" if self.uds else f"{self.scheme}://{self.authority.decode()}{self.base.decode()}"

    @classmethod
    def parse(cls, url: str, *, tls: ssl.SSLContext | None = None, connect: float = 5.0) -> Address:
        """Read `http://host:port/base`, `https://…` or `unix:/path`. Raises `ConfigurationError`."""
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
            host, port = parsed.hostname or "", parsed.port
            host.encode("idna")
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


class ClientLeft(Exception):
    """The client left before its request was complete, or before its answer was."""


class Body(Protocol):
    """A client's body, as it comes."""

    trailers: HeaderList
    """Fields after it; known when it has ended."""

    async def next(self) -> tuple[bytes, bool]:
        """The next bytes, and whether more will come. Raises `ClientLeft`."""
        ...

    def done(self) -> None:
        """No more of it will be read, whether it is over or not: the client's leaving is listened for from now on."""
        ...


@dataclass(slots=True)
class Outgoing:
    """A request as it goes upstream: the fields are complete, framing included, and sent as they are."""

    method: str
    target: bytes
    headers: HeaderList
    body: Body | None = None
    """None: there is none, and the fields announce none."""
    chunked: bool = False
    """Whether the body is announced by `Transfer-Encoding: chunked`, and not by its length."""
    expects_continue: bool = False
    """Whether the client wants to be told to go on (`Expect: 100-continue`) before it sends its body."""
    upgrades: bool = False
    """Whether it asks for another protocol: without this, an answer of 101 is an error."""
    fence: Callable[[], None] | None = None
    """Called when the connection is open, before the first byte is sent; what it raises, `head` raises. Such a request
    is sent once, and on a connection that has carried no other: see `ap_resume_shim.http1.client`."""


class UpstreamExchange(Protocol):
    """One request on its way, and its answer. Used by one task: `head` until it is a final one, then `read`."""

    status: int
    headers: HeaderList
    """Names in lower case; repeated fields in order."""
    trailers: HeaderList
    """Known when the body has ended."""

    async def head(self) -> None:
        """Wait for the next head: a final one, or an informational one (1xx, not every transport tells) before it.

        Raises an `UpstreamFailure`, `ClientLeft` after `close`, or what the fence raised.
        """
        ...

    async def read(self) -> bytes:
        """The next bytes of the body; none at its end. Raises an `UpstreamFailure` where it broke off."""
        ...

    @property
    def eof(self) -> bool:
        """Whether it is known that `read` would give nothing more."""
        ...

    def close(self) -> None:
        """Be done: an answer that is not over is broken off, and the server notices at once."""
        ...

    def detach(self) -> tuple[asyncio.Transport, bytes]:
        """After a 101: the bare connection, paused, and what came on it already. It is the caller's from now on."""
        ...


class Transport(Protocol):
    """A way to carry requests to one address; belongs to one event loop."""

    upgrades: bool
    """Whether a request may ask for an upgrade."""
    trailers: bool
    """Whether fields after the body are told."""

    def __init__(self, address: Address) -> None: ...

    def start(self, request: Outgoing) -> UpstreamExchange:
        """Begin to pass a request on; nothing is sent before `head` is awaited."""
        ...

    async def aclose(self) -> None:
        """Close all connections."""
        ...


def unreachable(address: Address, error: Exception) -> UpstreamUnreachable:
    """No connection could be made."""
    detail = f"No connection to the backend at {address.url}: {_reason(error)}. Is it running?"
    return UpstreamUnreachable("The backend cannot be reached: the log of the shim has the reason.", detail=detail)


def broken_off(address: Address, why: Exception | str, what: str = "broke off") -> UpstreamError:
    """The answer failed, or its connection did."""
    detail = f"The backend at {address.url} {what}: {_reason(why)}."
    return UpstreamError(f"The backend {what}: the log of the shim has the reason.", detail=detail)


def too_slow(address: Address, what: str) -> UpstreamTimeout:
    """The server did not do in time what it had to."""
    return UpstreamTimeout(f"The backend {what}.", detail=f"The backend at {address.url} {what}.")


def _reason(error: Exception | str) -> str:
    return (str(error) or type(error).__name__).rstrip(".")
