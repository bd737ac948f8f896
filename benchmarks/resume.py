"""A resume through the shim, compared with the same two calls made directly: look the thread up, create the run.

The variants alternate within each round. The figures are the medians of the rounds' ratios. With a backend that takes
5 ms for each request, the sidecar's processor time for one resume is measured as well.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from multiprocessing import get_context
from socket import socket
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

import httpx
import uvicorn

from ap_resume_shim import ResumeShim
from ap_resume_shim.core.protocol import Mode
from ap_resume_shim.demo import create_app
from benchmarks.cpu import cpu_seconds
from benchmarks.table import show
from benchmarks.ways import running as running_process
from tests.e2e.drivers import DRIVERS
from tests.servers.process import free_port
from tests.servers.run import running
from tests.support.serving import listening
from tests.support.sidecar import sidecar

if TYPE_CHECKING:
    from starlette.types import ASGIApp

ROUNDS = {"agent-protocol": 200, "langgraph": 10}
SLOW_ROUNDS = 300
MILLISECONDS = 5
"""Time of each request at the slow backend."""
TAILS = {Mode.BACKGROUND: "/runs", Mode.WAIT: "/runs/wait", Mode.STREAM: "/runs/stream"}
ANSWER = "yes"


class Client:
    """One connection, from the standard library: the client's own cost is small beside that of the servers."""

    def __init__(self, url: str) -> None:
        self.connection = HTTPConnection(urlsplit(url).netloc)

    def ask(self, method: str, path: str, body: Any = None) -> bytes:
        """Send a request, and return the whole body of the response. Raises `RuntimeError` unless the status is 200."""
        self.connection.request(
            method, path, None if body is None else json.dumps(body), {"Content-Type": "application/json"}
        )
        response = self.connection.getresponse()
        read = response.read()
        if response.status != 200:
            raise RuntimeError(f"{method} {path}: {response.status} {read.decode()}")
        return read


Resume = Callable[[Client, str, Mode], Any]


def through_the_shim(client: Client, thread: str, mode: Mode) -> None:
    """Resume by the draft's route."""
    client.ask("PATCH", mode.route, {"thread_id": thread, "input": ANSWER})


def directly_agent_protocol(client: Client, thread: str, mode: Mode) -> None:
    """Resume by the legacy server's own API."""
    (asked,) = json.loads(client.ask("GET", f"/threads/{thread}"))["interrupts"]
    answer = {"command": {"resume": {asked["id"]: ANSWER}}}
    client.ask("POST", TAILS[mode], {"thread_id": thread, "agent_id": "ask", "input": answer})


def directly_langgraph(client: Client, thread: str, mode: Mode) -> None:
    """Resume by LangGraph's own API."""
    found = json.loads(client.ask("GET", f"/threads/{thread}"))
    ((asked,),) = found["interrupts"].values()
    body = {"assistant_id": found["metadata"]["assistant_id"], "command": {"resume": {asked["id"]: ANSWER}}}
    client.ask("POST", f"/threads/{thread}{TAILS[mode]}", body)


@dataclass(frozen=True)
class Way:
    """A variant: how and where a thread is resumed."""

    name: str
    url: str
    resume: Resume
    pid: int = 0
    """The sidecar's process id; 0 without a sidecar."""


def wrapped() -> ASGIApp:
    """Return the legacy server with the shim in its process."""
    return ResumeShim(create_app(), "agent-protocol")


def serve(factory: Callable[[], ASGIApp], bound: socket) -> None:
    """Serve an app; runs in a separate process."""
    uvicorn.Server(uvicorn.Config(factory(), log_level="critical")).run(sockets=[bound])


@contextmanager
def process(factory: Callable[[], ASGIApp]) -> Iterator[str]:
    """Serve an app in a separate process, and yield its URL; connections wait in the socket until it is up."""
    with listening() as bound:
        bound.listen()
        server = get_context("spawn").Process(target=serve, args=(factory, bound), daemon=True)
        server.start()
        try:
            yield f"http://127.0.0.1:{bound.getsockname()[1]}"
        finally:
            server.terminate()
            server.join(20)


@contextmanager
def agent_protocol() -> Iterator[list[Way]]:
    """The legacy server alone, behind a sidecar, and with the shim in its process."""
    with (
        process(create_app) as legacy,
        process(wrapped) as inside,
        sidecar("--upstream", legacy, "--port", "0", "--backend", "agent-protocol") as shim,
    ):
        yield [
            Way("direct", legacy, directly_agent_protocol),
            Way("in process", inside, through_the_shim),
            Way("sidecar", shim.url, through_the_shim),
        ]


@contextmanager
def langgraph() -> Iterator[list[Way]]:
    """The current LangGraph server, alone and behind a sidecar."""
    with (
        running("langgraph") as server,
        sidecar("--upstream", server, "--port", "0", "--backend", "langgraph") as shim,
    ):
        yield [Way("direct", server, directly_langgraph), Way("sidecar", shim.url, through_the_shim)]


BACKENDS = {"agent-protocol": agent_protocol, "langgraph": langgraph}


class Driver(Protocol):
    """Creates and deletes threads, as the drivers of the end-to-end tests do."""

    client: httpx.Client

    def start(self, agent: str, input_: Any, /) -> str:
        """Create a thread that waits at a question, and return its id."""


class SlowDriver:
    """The driver of the slow backend; its threads need no deletion."""

    def __init__(self, client: httpx.Client, *, asks: bool) -> None:
        self.client, self._asks = client, asks

    def start(self, agent: str, input_: Any, /) -> str:
        """Create a thread whose next run asks again, or ends."""
        return str(self.client.post("/threads", json={"asks": self._asks}).raise_for_status().json()["thread_id"])


def seconds(backend: str, ways: list[Way], mode: Mode) -> list[list[float]]:
    """Return the seconds of each variant by round; the first round, which opens connections, does not count."""
    with ExitStack() as stack:
        drivers = [stack.enter_context(_driver(backend, way.url)) for way in ways]
        return _alternate(ways, drivers, mode, ROUNDS[backend], delete=True)


def _alternate(
    ways: list[Way], drivers: Sequence[Driver], mode: Mode, rounds: int, *, delete: bool
) -> list[list[float]]:
    taken: list[list[float]] = [[] for _ in ways]
    clients = [Client(way.url) for way in ways]
    with ThreadPoolExecutor(len(ways)) as pool:
        for number in range(rounds + 1):
            threads = list(pool.map(_asked, drivers))
            for turn in range(len(ways)):
                index = (number + turn) % len(ways)
                begin = perf_counter()
                ways[index].resume(clients[index], threads[index], mode)
                taken[index].append(perf_counter() - begin)
            for driver, thread in zip(drivers, threads, strict=True) if delete else ():
                driver.client.delete(f"/threads/{thread}")  # the legacy server searches all its runs
    return [times[1:] for times in taken]


@contextmanager
def _driver(backend: str, url: str) -> Iterator[Driver]:
    with httpx.Client(base_url=url, timeout=60) as client:
        yield DRIVERS[backend](client)


def _asked(driver: Driver) -> str:
    """Create a thread that waits for an answer, and return its id."""
    return driver.start("ask", {"topic": "lunch"})


@contextmanager
def slow() -> Iterator[list[Way]]:
    """A backend that takes 5 ms for each request, alone and behind a sidecar."""
    port = free_port()
    origin = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "benchmarks.agent_origin", str(port), str(MILLISECONDS)]
    with (
        running_process(command, port),
        sidecar("--upstream", origin, "--port", "0", "--backend", "langgraph") as shim,
    ):
        yield [
            Way("direct", origin, directly_langgraph),
            Way("sidecar", shim.url, through_the_shim, shim.process.pid),
        ]


def at_slow_backend(ways: list[Way], mode: Mode, *, asks: bool) -> tuple[float, float, float]:
    """Return the median of the two direct calls in ms, the median ratio, and the sidecar's CPU ms for one resume."""
    with httpx.Client(base_url=ways[0].url) as client:
        driver = SlowDriver(client, asks=asks)  # not through the sidecar, whose processor time is measured
        _alternate(ways, [driver] * len(ways), mode, 10, delete=False)
        before = cpu_seconds(ways[1].pid)
        direct, shim = _alternate(ways, [driver] * len(ways), mode, SLOW_ROUNDS, delete=False)
        spent = cpu_seconds(ways[1].pid) - before
    ratio = median(b / a for a, b in zip(direct, shim, strict=True))
    return median(direct) * 1000, ratio, spent * 1000 / (SLOW_ROUNDS + 1)


def main() -> None:
    """Measure, and print."""
    rows = []
    for backend, placed in BACKENDS.items():
        with placed() as ways:
            for mode in Mode:
                direct, *others = seconds(backend, ways, mode)
                ratios = {
                    way.name: f"{median(b / a for a, b in zip(direct, other, strict=True)):.2f}"
                    for way, other in zip(ways[1:], others, strict=True)
                }
                figures = [ratios.get(name, "-") for name in ("in process", "sidecar")]
                rows.append([f"{backend}, {mode.name.lower()}", f"{median(direct) * 1000:.1f}", *figures])
    show(
        "A resume through the shim, as a multiple of look-up and create made directly",
        ["backend, mode", "direct ms", "in process", "sidecar"],
        rows,
    )
    slow_rows = []
    with slow() as ways:
        for mode in Mode:
            for asks in (False, True):
                direct_ms, ratio, cpu = at_slow_backend(ways, mode, asks=asks)
                end = "asks again" if asks else "ends"
                slow_rows.append([f"{mode.name.lower()}, {end}", f"{direct_ms:.1f}", f"{ratio:.2f}", f"{cpu:.2f}"])
    show(
        f"The same through the sidecar, at a backend that takes {MILLISECONDS} ms for each request",
        ["mode, the run", "direct ms", "ratio", "CPU ms of the sidecar"],
        slow_rows,
    )
