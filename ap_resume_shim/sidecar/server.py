"""The life of the sidecar: one process. Several of them share a guard, and need no parent.

After SIGTERM it takes no new connections, gives requests under way their time, then cuts those that are left and leaves
with status 0. After a second SIGTERM it cuts them at once, after a third it does not let them answer.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

from ap_resume_shim._shutdown import LAST_WORDS, SHUTDOWN
from ap_resume_shim.core.errors import ConfigurationError
from ap_resume_shim.http1.server import Http1Server
from ap_resume_shim.http1.server_connection import Http1Protocol
from ap_resume_shim.proxy.transport import Address
from ap_resume_shim.runtime import resume_log as logs
from ap_resume_shim.runtime.resume_log import AccessLog
from ap_resume_shim.sidecar.app import build, check_guard, server_tls
from ap_resume_shim.sidecar.health import Health, not_found
from ap_resume_shim.sidecar.settings import Settings
from ap_resume_shim.sidecar.sockets import address, tcp, unix
from ap_resume_shim.sidecar.startup import detect_at_start

if TYPE_CHECKING:
    from starlette.types import ASGIApp

logger = logging.getLogger("ap_resume_shim")

OPEN_MAX = 10_240
"""Files that macOS lets a process have, where it says that there is no limit."""
STOPS = {signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGBREAK", signal.SIGTERM)}
"""On Windows, SIGBREAK is what another process can send."""
PROBES_END = 1.0
"""Seconds that requests for health are given when clients are served no longer."""


def serve(settings: Settings) -> None:
    """Serve until a signal to stop. Raises `ConfigurationError` and `CannotListen`."""

    async def run() -> None:
        await _Sidecar(settings).serve(listening)

    logs.configure(settings.log_level, settings.log_format, settings.access_log)
    _allow_many_files()
    with ExitStack() as stack:
        listening = list(_listen(settings, stack))
        _say_whether_reachable(Address.parse(settings.upstream))
        _say_whether_guarded(settings)
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(run())


def _allow_many_files() -> None:
    """Each stream takes two files, and many systems begin with 1,024 of those that a process may have, or 256."""
    try:
        import resource
    except ImportError:
        return  # Windows has no such limit
    now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    for wanted in (most, *([OPEN_MAX] if 0 < now < OPEN_MAX else [])):
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
            return


def _listen(settings: Settings, stack: ExitStack) -> Iterator[socket.socket]:
    """The socket for clients, and that for health where it has one of its own. Says where they are."""
    upstream = settings.shown()["upstream"]
    if settings.uds is not None:
        yield stack.enter_context(unix(settings.uds))
        logger.info("listening on unix:%s, in front of %s", settings.uds, upstream)
    else:
        yield (ours := stack.enter_context(tcp(settings.host, settings.port)))
        scheme = "https" if settings.ssl_certfile else "http"
        logger.info("listening on %s://%s, in front of %s", scheme, address(ours), upstream)
    if settings.health_port is not None:
        yield (own := stack.enter_context(tcp(settings.host, settings.health_port, "--health-port")))
        where = address(own), settings.reserved_prefix.rstrip("/")
        logger.info("healthz and readyz are at http://%s%s/", *where)


def _say_whether_reachable(upstream: Address) -> None:
    """An upstream that is not there yet is no reason not to start: say so, and let it come."""
    try:
        if upstream.uds is None:
            socket.create_connection((upstream.host, upstream.port), timeout=2).close()
        else:
            with socket.socket(socket.AF_UNIX) as probe:
                probe.connect(upstream.uds)
    except OSError as error:
        logger.warning(
            "no connection to %s yet (%s): requests are answered with 502 until it is there", upstream.url, error
        )


def _say_whether_guarded(settings: Settings) -> None:
    """Nor is a guard's store that is not there, or not as it should be: resumes get 503 until it is."""
    try:
        for warning in asyncio.run(check_guard(settings)):
            logger.warning("%s", settings.masked(warning))
    except ConfigurationError as error:
        logger.error("%s", settings.masked(str(error)))


class _Sidecar:
    """The sidecar, with its health beside it where that has a socket of its own. Made in the loop that runs it."""

    def __init__(self, settings: Settings) -> None:
        """Raises `ConfigurationError`."""
        self._loop = asyncio.get_running_loop()
        self._grace = settings.timeout_graceful_shutdown
        self._stopping, self._cutting = asyncio.Event(), False
        self._shim = shim = build(settings)
        app: ASGIApp = AccessLog(shim) if settings.access_log else shim
        apart = settings.health_port is not None
        self._health = Health(not_found if apart else app, prefix=settings.reserved_prefix, ready=shim.ready)
        self._probes = Http1Server(self._health)
        self.server = Http1Server(
            app if apart or not settings.reserved_prefix else self._health,
            protocol=type("Protocol", (Http1Protocol,), {"max_head": settings.max_head}),
            keep_alive=settings.timeout_keep_alive,
            tls=server_tls(settings),
        )

    async def serve(self, listening: Sequence[socket.socket]) -> None:
        """Serve clients on the first socket, and health on the other, for longer; return after a signal to stop."""
        self._handle_signals()
        await self._probes.start(listening[1:])
        # Before clients are served, where the server is there and can be recognised.
        detecting = None if self._shim.backend else await detect_at_start(self._shim.detect)
        await self.server.start(listening[:1])
        await self._stopping.wait()
        await self._drain()
        if detecting is not None:
            detecting.cancel()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._probes.close(), PROBES_END)

    async def _drain(self) -> None:
        """Give requests under way their time, then the time to say that it is over."""
        cutting = self._loop.call_later(self._grace, self._cut)
        await self.server.close()
        cutting.cancel()

    def _handle_signals(self) -> None:
        """Stop by signal, and end with status 0. (Windows has no `add_signal_handler`.)"""

        def handle(*_: object) -> None:
            with suppress(RuntimeError):  # the loop has ended, and the process is about to
                self._loop.call_soon_threadsafe(self._stop)

        for stop in STOPS:
            signal.signal(stop, handle)

    def _stop(self) -> None:
        """Begin to end, or end sooner."""
        if self._stopping.is_set():
            self._cut()
        self._health.draining = True
        self._stopping.set()

    def _cut(self) -> None:
        """End all requests: they answer as they can, for `LAST_WORDS`. A second time, do not wait for that."""
        if self._cutting:
            self.server.abort()
            return
        self._cutting = True
        self._loop.call_later(LAST_WORDS + 1.0, self._cut)
        if cut := self.server.cancel(SHUTDOWN):
            logger.warning("cutting %d requests that are still under way", cut)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop, where it is installed."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
