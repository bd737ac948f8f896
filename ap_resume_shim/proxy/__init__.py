"""The reverse proxy: `ReverseProxy(url)` is an ASGI app that sends its requests through a `Transport`."""

from ap_resume_shim.proxy.app import ReverseProxy
from ap_resume_shim.proxy.forwarded import Forwarding
from ap_resume_shim.proxy.httpx_transport import HttpxTransport
from ap_resume_shim.proxy.transport import Transport

__all__ = ["Forwarding", "HttpxTransport", "ReverseProxy", "Transport"]
