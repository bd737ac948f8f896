"""The sockets that the sidecar listens on: taken first, so that one that is not to be had is one line to read."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

from ap_resume_shim.proxy.tcp_keepalive import enable_keep_alive
from ap_resume_shim.proxy.transport import Address

BACKLOG = 2048

Ip = IPv4Address | IPv6Address

_LOOPBACK: dict[int, Ip] = {4: ip_address("127.0.0.1"), 6: ip_address("::1")}
_FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}


class CannotListen(Exception):
    """An address that is not to be had."""


def tcp(host: str, port: int, flag: str = "--port") -> socket.socket:
    """Listen on a port. Raises `CannotListen`, which says what to do: another one, with `flag`."""
    # On Windows SO_REUSEADDR would let two servers share a port, and nothing is needed to take it over from a dead one.
    alone = getattr(socket, "SO_EXCLUSIVEADDRUSE", None)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, proto=socket.IPPROTO_TCP)  # else asyncio leaves Nagle's algorithm on
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR if alone is None else alone, 1)
    enable_keep_alive(listening)
    try:
        listening.bind((host, port))
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        raise CannotListen(
            f"cannot listen on {host}:{port}: {error.strerror}. Pass another {flag}, or 0 for any free one."
        ) from None
    return listening


def address(listening: socket.socket) -> str:
    """Host and port, as a URL has them."""
    host, port = listening.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def reaches(upstream: Address, host: str, port: int) -> bool:
    """Whether connections to the server at an address arrive at a socket that listens on `host` and `port`.

    Names are resolved; one that cannot be is nobody's.
    """
    if upstream.uds is not None or upstream.port != port:
        return False
    listening = _resolved(host)
    targets = {_LOOPBACK[ip.version] if ip.is_unspecified else ip for ip in _resolved(upstream.host)}
    everywhere = {ip.version for ip in listening if ip.is_unspecified}
    if 6 in everywhere:
        everywhere.add(4)  # a socket for both
    return bool(targets & listening) or any(ip.version in everywhere and _is_local(ip) for ip in targets)


def _resolved(host: str) -> set[Ip]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return set()
    addresses = {ip_address(str(address[0])) for *_, address in found}
    return {getattr(ip, "ipv4_mapped", None) or ip for ip in addresses}


def _is_local(ip: Ip) -> bool:
    """Whether it is one of this machine: what is sent to those comes from them. Nothing is sent."""
    if ip.is_loopback:
        return True
    with suppress(OSError), socket.socket(_FAMILY[ip.version], socket.SOCK_DGRAM) as probe:
        probe.connect((str(ip), 9))
        return ip_address(str(probe.getsockname()[0])) == ip
    return False


@contextmanager
def unix(path: str) -> Iterator[socket.socket]:
    """Listen on a Unix socket, in place of one that a dead server left; who may enter its folder may connect.

    It is removed in the end. Raises `CannotListen`.
    """
    listening = socket.socket(socket.AF_UNIX)
    try:
        _clear(path)
        listening.bind(path)
        Path(path).chmod(0o666)
        listening.listen(BACKLOG)
        ours = Path(path).stat().st_ino
    except OSError as error:
        listening.close()
        raise CannotListen(f"cannot listen on unix:{path}: {error.strerror or error}. Pass another --uds.") from None
    try:
        yield listening
    finally:
        listening.close()
        with suppress(FileNotFoundError):
            if Path(path).stat().st_ino == ours:  # and not that of a successor
                Path(path).unlink()


def _clear(path: str) -> None:
    """Remove a socket on which nobody listens. Raises `OSError` where anything else is in the way."""
    if not Path(path).exists():
        return
    if Path(path).is_socket():
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(path)
            except ConnectionRefusedError:
                Path(path).unlink()
                return
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
