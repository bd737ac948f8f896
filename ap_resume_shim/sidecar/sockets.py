"""The sockets that the sidecar listens on. They are opened first, so that an unavailable one is a one-line error."""

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
    """The address to listen on is unavailable."""


def listen_tcp(host: str, port: int, flag: str = "--port") -> socket.socket:
    """Listen on a port. Raises `CannotListen`, whose message suggests another value for `flag`."""
    # On Windows, SO_REUSEADDR would let two servers share a port; it is not needed there after a crash.
    alone = getattr(socket, "SO_EXCLUSIVEADDRUSE", None)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, proto=socket.IPPROTO_TCP)  # otherwise asyncio leaves Nagle's algorithm on
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
    """Return host and port in the form that URLs use."""
    host, port = listening.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def reaches(upstream: Address, host: str, port: int) -> bool:
    """True if connections to `upstream` arrive at a socket that listens on `host` and `port`.

    Names are resolved; a name that cannot be resolved matches nothing.
    """
    if upstream.uds is not None or upstream.port != port:
        return False
    listening = _resolved(host)
    targets = {_LOOPBACK[ip.version] if ip.is_unspecified else ip for ip in _resolved(upstream.host)}
    everywhere = {ip.version for ip in listening if ip.is_unspecified}
    if 6 in everywhere:
        everywhere.add(4)  # an IPv6 wildcard socket accepts IPv4, too
    return bool(targets & listening) or any(ip.version in everywhere and _is_local(ip) for ip in targets)


def _resolved(host: str) -> set[Ip]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return set()
    addresses = {ip_address(str(address[0])) for *_, address in found}
    return {getattr(ip, "ipv4_mapped", None) or ip for ip in addresses}


def _is_local(ip: Ip) -> bool:
    """True if `ip` belongs to this machine: packets to it would have it as their source address. Nothing is sent."""
    if ip.is_loopback:
        return True
    with suppress(OSError), socket.socket(_FAMILY[ip.version], socket.SOCK_DGRAM) as probe:
        probe.connect((str(ip), 9))
        return ip_address(str(probe.getsockname()[0])) == ip
    return False


@contextmanager
def listen_unix(path: str) -> Iterator[socket.socket]:
    """Listen on a Unix socket, and remove it at the end; replaces the socket of a process that died.

    Permissions of its folder decide who may connect. Raises `CannotListen`.
    """
    listening = socket.socket(socket.AF_UNIX)
    try:
        _remove_stale_socket(path)
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
            if Path(path).stat().st_ino == ours:  # unless a successor has replaced it
                Path(path).unlink()


def _remove_stale_socket(path: str) -> None:
    """Remove a socket on which no process listens. Raises `OSError` if anything else occupies the path."""
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
