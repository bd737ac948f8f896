"""The header fields in which a proxy describes itself and its client: `Host`, `Via`, `Forwarded`, `X-Forwarded-*`.

By default none of them is changed or added.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from ap_resume_shim.core.asgi import HeaderList
from ap_resume_shim.core.errors import ConfigurationError

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_COMMENT = re.compile(rb"\((?:[^()\\]|\\.)*\)")


class LoopDetected(Exception):
    """The request has already passed through this proxy. The client receives 508."""

    http_status: ClassVar[int] = 508

    def __init__(self, name: str | None = None) -> None:
        """`name` is the name in `Via` that was recognised, if it was."""
        different = ", or, if they are different servers, give each of them a `via` of its own" if name else ""
        super().__init__(
            f"The request has come through {name or 'this proxy'} before: one of the servers on its way sends it back. "
            f"Correct that one's upstream{different}."
        )


@dataclass(frozen=True, slots=True)
class Forwarding:
    """Which header fields the proxy changes or adds. Raises `ConfigurationError` for an invalid value.

    - `keep_host`: True forwards the client's `Host`; False replaces it with the backend's own address.
    - `via`: the proxy's name in the `Via` fields of requests and responses, which must be a token (RFC 9110, section
      5.6.2). A request whose `Via` already has this name is refused as a loop. None adds no `Via`.
    - `forwarded`: the fields in which the backend receives the client's address, scheme and `Host`: "forwarded"
      (`Forwarded`, RFC 7239), "x-forwarded" (`X-Forwarded-For`, `-Proto` and `-Host`), or "both". None adds none.
    - `trusted`: the peers whose `Forwarded` and `X-Forwarded-*` fields are kept and extended: addresses, networks such
      as `10.0.0.0/8`, or `*` for every peer. From other peers they are dropped. Used only if `forwarded` is set.
    """

    keep_host: bool = True
    via: str | None = None
    forwarded: Literal["forwarded", "x-forwarded", "both"] | None = None
    trusted: Sequence[str] = ("127.0.0.1", "::1")
    _changes_nothing: bool = field(init=False, repr=False, compare=False)
    _networks: tuple[IpNetwork, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Validate the values, and parse `trusted` once."""
        if self.via is not None and not _TOKEN.fullmatch(self.via):
            raise ConfigurationError(f"The name for Via, {self.via!r}, is no token: use letters, digits, - and _.")
        if self.forwarded not in (None, "forwarded", "x-forwarded", "both"):
            raise ConfigurationError(f"forwarded is {self.forwarded!r}: it can be forwarded, x-forwarded or both.")
        object.__setattr__(self, "_changes_nothing", self.keep_host and self.via is None and self.forwarded is None)
        object.__setattr__(self, "_networks", tuple(_network(peer) for peer in self.trusted if peer != "*"))

    def request(self, headers: HeaderList, scope: Mapping[str, Any], authority: bytes) -> HeaderList:
        """Return the header fields of a request to the backend; the same list if nothing changes.

        `headers` contains no hop-by-hop fields. `scope` is that of the client's request, and `authority` is the
        backend's host and port. Raises `LoopDetected`.
        """
        if self._changes_nothing:
            return headers
        changed = headers if self.keep_host else _with_host(headers, authority)
        if self.forwarded is not None:
            changed = self._with_forwarded(changed, scope, _values(headers, b"host")[:1])
        if self.via is not None:
            if self.via.lower() in _via_names(headers):
                raise LoopDetected(self.via)
            changed = [*changed, _via(scope.get("http_version", "1.1"), self.via)]
        return changed

    def response(self, headers: HeaderList, scope: Mapping[str, Any]) -> HeaderList:
        """Return the header fields of a response to the client; the same list if nothing is added."""
        if self.via is None:
            return headers
        return [*headers, _via("1.1", self.via)]  # the version of the backend's response, not of the client's request

    def _with_forwarded(self, headers: HeaderList, scope: Mapping[str, Any], host: list[bytes]) -> HeaderList:
        """Add the client's address, scheme and `Host`, after the values of earlier proxies that are trusted."""
        peer = _peer_address(scope.get("client"))
        if not self._trusts(peer):
            headers = [(name, value) for name, value in headers if not _is_forwarded_field(name)]
        address = None if peer is None else str(peer).partition("%")[0].encode()
        proto = scope.get("scheme", "http").replace("ws", "http").encode()
        if self.forwarded != "x-forwarded":
            element = _forwarded_element(address, host, proto)
            headers = _append(headers, b"forwarded", element)
        if self.forwarded != "forwarded":
            if address is not None:
                headers = _append(headers, b"x-forwarded-for", address)
            # Only one value, from the first proxy: servers do not read lists in these fields.
            headers = _add_if_missing(headers, b"x-forwarded-proto", proto)
            for name in host:
                headers = _add_if_missing(headers, b"x-forwarded-host", name)
        return headers

    def _trusts(self, peer: IpAddress | None) -> bool:
        return "*" in self.trusted or (peer is not None and any(peer in network for network in self._networks))


def _network(peer: str) -> IpNetwork:
    try:
        return ipaddress.ip_network(peer)
    except ValueError as error:
        raise ConfigurationError(
            f"A trusted peer is an address, a network such as 10.0.0.0/8, or *: {error}."
        ) from None


def _peer_address(client: tuple[str, int] | None) -> IpAddress | None:
    """Return the peer's address; None for a Unix socket."""
    try:
        address = ipaddress.ip_address(client[0] if client else "")
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address  # dual-stack sockets report IPv4 peers as IPv4-mapped IPv6


def _values(headers: HeaderList, wanted: bytes) -> list[bytes]:
    return [value for name, value in headers if name.lower() == wanted]


def _with_host(headers: HeaderList, authority: bytes) -> HeaderList:
    if not _values(headers, b"host"):
        return [(b"host", authority), *headers]
    return [(name, authority if name.lower() == b"host" else value) for name, value in headers]


def _is_forwarded_field(name: bytes) -> bool:
    name = name.lower().replace(b"_", b"-")  # CGI and WSGI turn both into underscores
    return name == b"forwarded" or name.startswith(b"x-forwarded-")


def _append(headers: HeaderList, name: bytes, value: bytes) -> HeaderList:
    """Append a value to a list field, joined into one line: many servers read only the first or the last line."""
    before = [value for value in _values(headers, name) if value.strip()]
    return [*(item for item in headers if item[0].lower() != name), (name, b", ".join([*before, value]))]


def _add_if_missing(headers: HeaderList, name: bytes, value: bytes) -> HeaderList:
    return headers if _values(headers, name) else [*headers, (name, value)]


def _forwarded_element(address: bytes | None, host: list[bytes], proto: bytes) -> bytes:
    """Return the element of one proxy (RFC 7239, section 4). An IPv6 address is in brackets, and therefore quoted."""
    node = b"unknown" if address is None else b"[%s]" % address if b":" in address else address
    pairs = [(b"for", node), *((b"host", name) for name in host), (b"proto", proto)]
    return b";".join(key + b"=" + _token_or_quoted(value) for key, value in pairs)


def _token_or_quoted(value: bytes) -> bytes:
    if _TOKEN.fullmatch(value.decode("latin-1")):
        return value
    return b'"' + re.sub(rb'(["\\])', rb"\\\1", value) + b'"'


def _via(version: str, name: str) -> tuple[bytes, bytes]:
    """Return one `Via` field (RFC 9110, section 7.6.3). It is a line of its own: existing lines stay unchanged."""
    return b"via", f"{version} {name}".encode()


def _via_names(headers: HeaderList) -> set[str]:
    """Return the names in all `Via` fields, in lower case: they may be host names, which are case-insensitive."""
    listed = b",".join(_COMMENT.sub(b"", value) for value in _values(headers, b"via")).decode("latin-1").lower()
    return {words[1] for member in listed.split(",") if len(words := member.split()) > 1}
