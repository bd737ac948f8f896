"""What a proxy says of itself and of the client it stands before: `Host`, `Via`, `Forwarded`, `X-Forwarded-*`.

Nothing, unless it is asked to: by default a request goes on as it came.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from ap_resume_shim.core.errors import ConfigurationError

Fields = list[tuple[bytes, bytes]]
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_COMMENT = re.compile(rb"\((?:[^()\\]|\\.)*\)")


class LoopDetected(Exception):
    """The request has come through this very proxy before: answered with 508."""

    http_status: ClassVar[int] = 508

    def __init__(self, name: str | None = None) -> None:
        """`name`: the name in `Via` by which it was recognised."""
        different = ", or, if they are different servers, give each of them a `via` of its own" if name else ""
        super().__init__(
            f"The request has come through {name or 'this proxy'} before: one of the servers on its way sends it back. "
            f"Correct that one's upstream{different}."
        )


@dataclass(frozen=True, slots=True)
class Forwarding:
    """How header fields are changed on their way. Raises `ConfigurationError` for what cannot be.

    - `keep_host`: the backend sees the `Host` that the client sent; else its own address.
    - `via`: the name, a token, under which the proxy is told in `Via`, both ways, and loops are found.
    - `forwarded`: how the backend is told the client's address, scheme and `Host`: "forwarded" (RFC 7239),
      "x-forwarded" (`X-Forwarded-For`, `-Proto`, `-Host`), or "both".
    - `trusted`: the peers whose own words on that are believed: addresses, networks such as `10.0.0.0/8`, or `*`, which
      is everyone. From any other peer, `Forwarded` and all of `X-Forwarded-*` are dropped before ours are written.
    """

    keep_host: bool = True
    via: str | None = None
    forwarded: Literal["forwarded", "x-forwarded", "both"] | None = None
    trusted: Sequence[str] = ("127.0.0.1", "::1")
    _silent: bool = field(init=False, repr=False, compare=False)
    _networks: tuple[Network, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check everything once, so that a request costs no more than it must."""
        if self.via is not None and not _TOKEN.fullmatch(self.via):
            raise ConfigurationError(f"The name for Via, {self.via!r}, is no token: use letters, digits, - and _.")
        if self.forwarded not in (None, "forwarded", "x-forwarded", "both"):
            raise ConfigurationError(f"forwarded is {self.forwarded!r}: it can be forwarded, x-forwarded or both.")
        object.__setattr__(self, "_silent", self.keep_host and self.via is None and self.forwarded is None)
        object.__setattr__(self, "_networks", tuple(_network(peer) for peer in self.trusted if peer != "*"))

    def request(self, headers: Fields, scope: Mapping[str, Any], authority: bytes) -> Fields:
        """The fields of a request as they go to the backend, whose own name is `authority`.

        `headers` are without hop-by-hop fields; the same list is given back where nothing is to be changed. Raises
        `LoopDetected`.
        """
        if self._silent:
            return headers
        changed = headers if self.keep_host else _with_host(headers, authority)
        if self.forwarded is not None:
            changed = self._told(changed, scope, _values(headers, b"host")[:1])
        if self.via is not None:
            if self.via.lower() in _hops(headers):
                raise LoopDetected(self.via)
            changed = [*changed, _via(scope.get("http_version", "1.1"), self.via)]
        return changed

    def response(self, headers: Fields, scope: Mapping[str, Any]) -> Fields:
        """The fields of the backend's answer as they go to the client; the same list where nothing is added."""
        if self.via is None:
            return headers
        return [*headers, _via("1.1", self.via)]  # what is spoken with the backend, whatever the client speaks

    def _told(self, headers: Fields, scope: Mapping[str, Any], host: list[bytes]) -> Fields:
        """With what is to be told of the client, after what those before us told."""
        peer = _address(scope.get("client"))
        if not self._trusts(peer):
            headers = [(name, value) for name, value in headers if not _is_claim(name)]
        address = None if peer is None else str(peer).partition("%")[0].encode()
        proto = scope.get("scheme", "http").replace("ws", "http").encode()
        if self.forwarded != "x-forwarded":
            element = _element(address, host, proto)
            headers = _appended(headers, b"forwarded", element)
        if self.forwarded != "forwarded":
            if address is not None:
                headers = _appended(headers, b"x-forwarded-for", address)
            # One value each, of the first proxy's client: servers do not read lists here.
            headers = _unless_there(headers, b"x-forwarded-proto", proto)
            for name in host:
                headers = _unless_there(headers, b"x-forwarded-host", name)
        return headers

    def _trusts(self, peer: Address | None) -> bool:
        return "*" in self.trusted or (peer is not None and any(peer in network for network in self._networks))


def _network(peer: str) -> Network:
    try:
        return ipaddress.ip_network(peer)
    except ValueError as error:
        raise ConfigurationError(
            f"A trusted peer is an address, a network such as 10.0.0.0/8, or *: {error}."
        ) from None


def _address(client: tuple[str, int] | None) -> Address | None:
    """The peer's address; one on a Unix socket has none."""
    try:
        address = ipaddress.ip_address(client[0] if client else "")
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address  # how sockets for both families write IPv4


def _values(headers: Fields, wanted: bytes) -> list[bytes]:
    return [value for name, value in headers if name.lower() == wanted]


def _with_host(headers: Fields, authority: bytes) -> Fields:
    if not _values(headers, b"host"):
        return [(b"host", authority), *headers]
    return [(name, authority if name.lower() == b"host" else value) for name, value in headers]


def _is_claim(name: bytes) -> bool:
    name = name.lower().replace(b"_", b"-")  # CGI and WSGI do not tell these two apart
    return name == b"forwarded" or name.startswith(b"x-forwarded-")


def _appended(headers: Fields, name: bytes, value: bytes) -> Fields:
    """With one more in a list, which becomes one line: of several, many a server reads only the first or the last."""
    before = [told for told in _values(headers, name) if told.strip()]
    return [*(item for item in headers if item[0].lower() != name), (name, b", ".join([*before, value]))]


def _unless_there(headers: Fields, name: bytes, value: bytes) -> Fields:
    return headers if _values(headers, name) else [*headers, (name, value)]


def _element(address: bytes | None, host: list[bytes], proto: bytes) -> bytes:
    """What RFC 7239, section 4, has of one proxy: an IPv6 address is in brackets, and no token."""
    node = b"unknown" if address is None else b"[%s]" % address if b":" in address else address
    pairs = [(b"for", node), *((b"host", name) for name in host), (b"proto", proto)]
    return b";".join(key + b"=" + _token_or_quoted(value) for key, value in pairs)


def _token_or_quoted(value: bytes) -> bytes:
    if _TOKEN.fullmatch(value.decode("latin-1")):
        return value
    return b'"' + re.sub(rb'(["\\])', rb"\\\1", value) + b'"'


def _via(version: str, name: str) -> tuple[bytes, bytes]:
    """One hop more (RFC 9110, section 7.6.3): a line of its own, so that those that came go on byte for byte."""
    return b"via", f"{version} {name}".encode()


def _hops(headers: Fields) -> set[str]:
    """The names in `Via`. Host names may stand there, which are the same in upper and lower case."""
    listed = b",".join(_COMMENT.sub(b"", value) for value in _values(headers, b"via")).decode("latin-1").lower()
    return {words[1] for hop in listed.split(",") if len(words := hop.split()) > 1}
