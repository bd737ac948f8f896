"""The life of the sidecar, in one process or several, by uvicorn.

After SIGTERM it takes no new connections, gives requests under way their time, then cuts those that are left and leaves
with status 0. After a second SIGTERM it cuts them at once, after a third it does not let them answer.
"""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING, Any

import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import multiprocess

from ap_resume_shim._shutdown import LAST_WORDS, SHUTDOWN
from ap_resume_shim.core.errors import ConfigurationError
from ap_resume_shim.http1.server import Http1Protocol
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
STOPS = {signal.SIGINT, signal.SIGTERM}


def serve(settings: Settings) -> None:
    """Serve until told to stop. Raises `ConfigurationError` and `CannotListen`; leaves with 1 when it cannot begin."""
    logs.configure(settings.log_level, settings.log_format, settings.access_log)
    _allow_many_files()
    with ExitStack() as stack:
        listening = list(_listen(settings, stack))
        _say_whether_reachable(Address.parse(settings.upstream))
        _say_whether_guarded(settings)
        if settings.workers > 1:
            _Workers(settings, listening).run()
        else:
            _Server(settings).run(listening)


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


class _Server(uvicorn.Server):
    """The sidecar of one process, with its health beside it where that has a socket of its own."""

    def __init__(self, settings: Settings) -> None:
        """Raises `ConfigurationError`."""
        self._grace = settings.timeout_graceful_shutdown
        self._loop: asyncio.AbstractEventLoop | None = None
        self._cutting = False
        self._shim = shim = build(settings)
        self._detecting: asyncio.Task[None] | None = None
        app: ASGIApp = AccessLog(shim) if settings.access_log else shim
        apart = settings.health_port is not None
        self._health = Health(not_found if apart else app, prefix=settings.reserved_prefix, ready=shim.ready)
        super().__init__(_config(settings, app if apart or not settings.reserved_prefix else self._health))

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve clients on the first socket, and health on the other, for longer."""
        self._loop = asyncio.get_running_loop()
        ours, *apart = sockets or []
        probes = _Probes(self._health)
        probing = asyncio.create_task(probes.serve(apart)) if apart else None
        try:
            await super().serve([ours])
        finally:
            if self._detecting is not None:
                self._detecting.cancel()
            if probing is not None:
                probes.should_exit = True
                await probing

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Detect the backend before clients are served, where the server is there and tells."""
        if self._shim.backend is None:
            self._detecting = await detect_at_start(self._shim.detect)
        await super().startup(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to end, or end sooner. uvicorn would end by the signal in the end; this ends with status 0."""
        # Workers get signals from their parent, and from those who send them to all processes.
        if self.should_exit and not _parent() and self._loop is not None:
            self._loop.call_soon_threadsafe(self._cut)
        self._health.draining = self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Give requests under way their time, then the time to say that it is over."""
        cutting = asyncio.get_running_loop().call_later(self._grace, self._cut)
        try:
            await super().shutdown(sockets)
        finally:
            cutting.cancel()

    def _cut(self) -> None:
        """End all requests: they answer as they can, for `LAST_WORDS`. A second time, do not wait for that."""
        assert self._loop is not None
        if self._cutting:
            self.force_exit = True
            for connection in list(self.server_state.connections):  # from Python 3.12 on, uvicorn would wait for them
                connection.transport.abort()
            return
        self._cutting = True
        self._loop.call_later(LAST_WORDS + 1.0, self._cut)
        if tasks := [task for task in self.server_state.tasks if not task.done()]:
            logger.warning("cutting %d requests that are still under way", len(tasks))
        for task in tasks:
            task.cancel(SHUTDOWN)

    async def on_tick(self, counter: int) -> bool:
        """Whether to stop: also when the parent was killed, which cannot tell."""
        parent = _parent()
        return await super().on_tick(counter) or (parent is not None and not parent.is_alive())


def _parent() -> Any:
    return multiprocessing.parent_process()


class _Probes(uvicorn.Server):
    """Serves health beside the sidecar, and leaves the signals to it."""

    def __init__(self, health: Health) -> None:
        options: dict[str, Any] = {"timeout_graceful_shutdown": 1, "date_header": False, "server_header": False}
        super().__init__(
            uvicorn.Config(health, lifespan="off", ws="none", log_config=None, access_log=False, **options)
        )

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Nothing is captured."""
        yield


def _config(settings: Settings, app: ASGIApp) -> uvicorn.Config:
    class Protocol(Http1Protocol):
        max_head = settings.max_head

    options: dict[str, Any] = {
        "timeout_graceful_shutdown": settings.timeout_graceful_shutdown + 2 * LAST_WORDS,  # `_Server` cuts before that
        "timeout_keep_alive": settings.timeout_keep_alive,
    }
    if tls := server_tls(settings):
        options["ssl_context_factory"] = lambda *_: tls
    return uvicorn.Config(
        app, http=Protocol, ws="none", lifespan="on", log_config=None, access_log=False, proxy_headers=False,
        **options,
    )  # fmt: skip


class _Workers(multiprocess.Multiprocess):
    """The parent: starts workers anew when they die, and is told to stop for all of them."""

    def __init__(self, settings: Settings, listening: list[socket.socket]) -> None:
        multiprocess.Process = partial(_Worker, settings)  # type: ignore[misc, assignment]  # it has no place to say which
        super().__init__(uvicorn.Config("", workers=settings.workers, log_config=None), listening)

    def run(self) -> None:
        """Run until told to stop; leaves with 1 when the workers cannot begin."""
        super().run()
        if any(worker.exitcode == STARTUP_FAILURE for worker in self.processes):
            sys.exit(1)

    def terminate_all(self) -> None:
        """Tell the workers to stop. A socket that is open here would take connections that nobody serves."""
        for listening in self.sockets:
            listening.close()
        super().terminate_all()

    def join_all(self) -> None:
        """Wait until they have stopped; told twice, do not wait."""
        while waited := [worker for worker in self.processes if worker.process.is_alive()]:
            if STOPS & set(self.signal_queue):
                for worker in waited:
                    worker.kill()
            waited[0].process.join(0.1)


class _Worker(multiprocess.Process):
    """A worker: makes its app itself, of settings that it is handed in memory."""

    def __init__(self, settings: Settings, config: uvicorn.Config, sockets: list[socket.socket]) -> None:
        self._settings = settings
        super().__init__(config, sockets)

    def is_alive(self, timeout: float = 5) -> bool:
        """Whether its process is there. uvicorn would kill one that is slow to begin, too."""
        return self.process.is_alive()

    def target(self, sockets: list[socket.socket] | None = None) -> None:
        """What runs in its process."""
        logs.configure(self._settings.log_level, self._settings.log_format, self._settings.access_log)
        try:
            self._server = _Server(self._settings)
        except ConfigurationError as error:  # a file that was there when the parent looked
            logger.error("%s", error)
            sys.exit(STARTUP_FAILURE)
        super().target(sockets)
