"""Runs the sidecar: one process. Several sidecars share a guard, and need no parent process.

After SIGTERM the sidecar accepts no new connections, gives requests in progress their time, then cuts the rest and
exits with status 0. After a second SIGTERM it cuts them at once; after a third it closes their connections without a
response.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress

from ap_resume_shim._shutdown import CLEANUP_TIMEOUT, SHUTDOWN
from ap_resume_shim.core.errors import ConfigurationError
from ap_resume_shim.http1.server import Http1Server
from ap_resume_shim.http1.server_connection import Http1Protocol
from ap_resume_shim.middleware import ResumeShim
from ap_resume_shim.proxy.transport import Address
from ap_resume_shim.runtime import resume_log as logs
from ap_resume_shim.sidecar.app import build, check_guard, clients_app, open_audit, server_tls
from ap_resume_shim.sidecar.health import Health, not_found
from ap_resume_shim.sidecar.monitoring import load_metrics, load_tracing, warn_if_untraced
from ap_resume_shim.sidecar.settings import Settings
from ap_resume_shim.sidecar.sockets import address, listen_tcp, listen_unix
from ap_resume_shim.sidecar.startup import detect_at_start

logger = logging.getLogger("ap_resume_shim")

OPEN_MAX = 10_240
"""Limit of open files to request on macOS, where the reported hard limit may be infinite."""
STOPS = {signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGBREAK", signal.SIGTERM)}
"""On Windows, SIGBREAK is the signal that another process can send."""
PROBES_END = 1.0
"""Seconds that health requests in progress have after the last client's connection is closed."""


def serve(settings: Settings) -> None:
    """Serve until a signal stops the process. Raises `ConfigurationError` and `CannotListen`."""

    async def run() -> None:
        await _Sidecar(settings).serve(listening)

    logs.configure(settings.log_level, settings.log_format, settings.access_log)
    _allow_many_files()
    with ExitStack() as stack:
        stack.callback(_handle_stops, signal.SIG_IGN)  # else Python's exit would restore what kills the process
        _handle_stops(_exit)
        if settings.audit is not None and hasattr(signal, "SIGHUP"):
            signal.signal(signal.SIGHUP, signal.SIG_IGN)  # there is no file to reopen yet
        listening = list(_listen(settings, stack))
        _warn_if_unreachable(Address.parse(settings.upstream))
        _log_guard_problems(settings)
        _warn_if_answers_bypass_the_policy(settings)
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(run())


def _handle_stops(handler: Callable[..., object] | signal.Handlers) -> None:
    """Set the handler of the signals that stop the process. (Windows has no `add_signal_handler`.)"""
    for stop in STOPS:
        signal.signal(stop, handler)


def _exit(*_: object) -> None:
    """Stop before any client is served: the sockets are closed, and the status is 0."""
    sys.exit()


def _allow_many_files() -> None:
    """Raise the limit of open files: each stream needs two, and many systems start with a limit of 1,024 or 256."""
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
    """Yield the socket for clients, and the one for health if it has its own port; log their addresses."""
    upstream = settings.shown()["upstream"]
    if settings.uds is not None:
        yield stack.enter_context(listen_unix(settings.uds))
        logger.info("listening on unix:%s, in front of %s", settings.uds, upstream)
    else:
        yield (ours := stack.enter_context(listen_tcp(settings.host, settings.port)))
        scheme = "https" if settings.ssl_certfile else "http"
        logger.info("listening on %s://%s, in front of %s", scheme, address(ours), upstream)
        if settings.console:
            logger.info(
                "the console is at %s://%s%s/console", scheme, address(ours), settings.reserved_prefix.rstrip("/")
            )
    if settings.health_port is not None:
        yield (own := stack.enter_context(listen_tcp(settings.host, settings.health_port, "--health-port")))
        where = address(own), settings.reserved_prefix.rstrip("/")
        logger.info("healthz and readyz are at http://%s%s/", *where)


def _warn_if_unreachable(upstream: Address) -> None:
    """Log a warning if the upstream is unreachable. The sidecar starts nevertheless: the upstream may start later."""
    try:
        if upstream.uds is None:
            socket.create_connection((upstream.host, upstream.port), timeout=2).close()
        else:
            with socket.socket(socket.AF_UNIX) as probe:
                probe.connect(upstream.uds)
    except OSError as error:
        logger.warning("no connection to %s yet (%s): requests get 502 until it is available", upstream.url, error)


def _log_guard_problems(settings: Settings) -> None:
    """Log problems of the guard's store. The sidecar starts nevertheless: resumes get 503 until they are fixed."""
    try:
        for warning in asyncio.run(check_guard(settings)):
            logger.warning("%s", settings.masked(warning))
    except ConfigurationError as error:
        logger.error("%s", settings.masked(str(error)))


def _warn_if_answers_bypass_the_policy(settings: Settings) -> None:
    """Log a warning if answers in the backend's own convention, which most clients send today, bypass the policy."""
    names = [f"--{name}" for name in ("authorize", "audit") if getattr(settings, name) is not None]
    if names and settings.vendor_resumes != "guard":
        logger.warning(
            "answers in the backend's own convention pass without %s: set --vendor-resumes guard", " and ".join(names)
        )


class _Sidecar:
    """The servers for clients and for health. Must be created in the event loop that runs it."""

    def __init__(self, settings: Settings) -> None:
        """Raises `ConfigurationError`."""
        self._loop = asyncio.get_running_loop()
        self._grace = settings.timeout_graceful_shutdown
        self._stopping, self._cutting = asyncio.Event(), False
        metrics, tracing = load_metrics(settings), load_tracing(settings)
        warn_if_untraced(tracing)
        self._audit = open_audit(settings)
        self._shim = shim = build(settings, [each for each in (metrics, tracing) if each is not None], self._audit)
        self._health = Health(
            not_found,
            prefix=settings.reserved_prefix,
            ready=shim.ready,
            report=None if settings.health_port is None else shim.report,
            metrics=None if metrics is None else metrics.render,
        )
        self._probes = Http1Server(self._health)
        self.server = Http1Server(
            clients_app(settings, shim, self._health),
            protocol=_protocol(settings, shim),
            keep_alive=settings.timeout_keep_alive,
            tls=server_tls(settings),
        )

    async def serve(self, listening: Sequence[socket.socket]) -> None:
        """Serve clients on the first socket and health on the second, until a signal stops the process. Health stops
        last.
        """
        self._handle_signals()
        await self._probes.start(listening[1:])
        # Before clients are served, if the server is reachable and can be recognised.
        detecting = None if self._shim.backend else await detect_at_start(self._shim.detect)
        await self.server.start(listening[:1])
        await self._stopping.wait()
        await self._drain()
        if detecting is not None:
            detecting.cancel()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._probes.close(), PROBES_END)

    async def _drain(self) -> None:
        """Give requests in progress their time, then time for an error response."""
        cutting = self._loop.call_later(self._grace, self._cut)
        await self.server.close()
        cutting.cancel()

    def _handle_signals(self) -> None:
        """Stop on a signal, and exit with status 0."""

        def handle(*_: object) -> None:
            with suppress(RuntimeError):  # the loop has ended, and the process is exiting
                self._loop.call_soon_threadsafe(self._stop)

        _handle_stops(handle)
        if self._audit is not None and hasattr(signal, "SIGHUP"):  # Windows has none
            self._loop.add_signal_handler(signal.SIGHUP, self._audit.reopen)

    def _stop(self) -> None:
        """Begin the shutdown; if it has begun, cut the remaining requests."""
        if self._stopping.is_set():
            self._cut()
        self._health.draining = True
        self._stopping.set()

    def _cut(self) -> None:
        """Cancel all requests, which have `CLEANUP_TIMEOUT` to respond. A second call aborts them."""
        if self._cutting:
            self.server.abort()
            return
        self._cutting = True
        self._loop.call_later(CLEANUP_TIMEOUT + 1.0, self._cut)
        if cut := self.server.cancel(SHUTDOWN):
            logger.warning("cutting %d requests that are still in progress", cut)


def _protocol(settings: Settings, shim: ResumeShim) -> type[Http1Protocol]:
    """Return the protocol of the clients' connections."""
    options = {
        "max_head": settings.max_head,
        "max_message": settings.max_body,
        "reads_websocket": staticmethod(shim.reads_websocket),
    }
    return type("Protocol", (Http1Protocol,), options)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return uvloop's loop factory if uvloop is installed, else None."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
