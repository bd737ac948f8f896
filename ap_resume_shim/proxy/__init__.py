"""The reverse proxy: `ReverseProxy(url)` is an ASGI app that sends its requests through a `Transport`.

The other names are for transports in other packages: what a transport receives and returns, and the errors it raises.
"""

from ap_resume_shim.proxy.app import ReverseProxy
from ap_resume_shim.proxy.forwarded import Forwarding
from ap_resume_shim.proxy.httpx_transport import HttpxTransport
from ap_resume_shim.proxy.transport import (
    Address,
    ClientDisconnected,
    RequestBody,
    Transport,
    UpstreamExchange,
    UpstreamRequest,
    broken_off,
    too_slow,
    unreachable,
)

__all__ = [
    "Address",
    "ClientDisconnected",
    "Forwarding",
    "HttpxTransport",
    "RequestBody",
    "ReverseProxy",
    "Transport",
    "UpstreamExchange",
    "UpstreamRequest",
    "broken_off",
    "too_slow",
    "unreachable",
]
