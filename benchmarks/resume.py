"""A resume through the shim against the same two calls made directly: look at the thread, create the run.

The ways take turns within each round, and what is reported are ratios: the medians over the rounds.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx

from ap_resume_shim import ResumeShim
from ap_resume_shim.core.protocol import Mode
from benchmarks.table import show
from examples.legacy_server.server import create_app
from tests.e2e.drivers import AgentProtocolDriver, LangGraphDriver
from tests.e2e.placements import real_server, sidecar
from tests.serving import listening

if TYPE_CHECKING:
    from starlette.types import ASGIApp

ROUNDS = {"agent-protocol": 200, "langgraph": 15}
TAILS = {Mode.BACKGROUND: "/runs", Mode.WAIT: "/runs/wait", Mode.STREAM: "/runs/stream"}
ANSWER = "yes"


class Client:
    """One connection, as thin as the standard library has it: what is measured are the servers."""

    def __init__(self, url: str) -> None:
        self.connection = HTTPConnection(urlsplit(url).netloc)

    def ask(self, method: str, path: str, body: Any = None) -> bytes:
        """The body of the answer, read to its end."""
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
    """The draft's route."""
    client.ask("PATCH", mode.route, {"thread_id": thread, "input": ANSWER})


def directly_agent_protocol(client: Client, thread: str, mode: Mode) -> None:
    """The legacy server's way."""
    (asked,) = json.loads(client.ask("GET", f"/threads/{thread}"))["interrupts"]
    answer = {"command": {"resume": {asked["id"]: ANSWER}}}
    client.ask("POST", TAILS[mode], {"thread_id": thread, "agent_id": "ask", "input": answer})


def directly_langgraph(client: Client, thread: str, mode: Mode) -> None:
    """LangGraph's way."""
    found = json.loads(client.ask("GET", f"/threads/{thread}"))
    ((asked,),) = found["interrupts"].values()
    body = {"assistant_id": found["metadata"]["assistant_id"], "command": {"resume": {asked["id"]: ANSWER}}}
    client.ask("POST", f"/threads/{thread}{TAILS[mode]}", body)


@dataclass(frozen=True)
class Way:
    """A way to resume, and where."""

    name: str
    url: str
    resume: Resume


def wrapped() -> ASGIApp:
    """The legacy server with the shim in its process."""
    return ResumeShim(create_app(), "agent-protocol")


@contextmanager
def process(factory: str) -> Iterator[str]:
    """An app of its own process, served by uvicorn; connections wait in the socket until it is up."""
    with listening() as bound:
        bound.listen()
        command = [sys.executable, "-m", "uvicorn", "--factory", factory, "--fd", str(bound.fileno())]
        server = subprocess.Popen([*command, "--log-level", "critical"], pass_fds=[bound.fileno()])
        try:
            yield f"http://127.0.0.1:{bound.getsockname()[1]}"
        finally:
            server.terminate()
            server.wait(timeout=20)


@contextmanager
def agent_protocol() -> Iterator[list[Way]]:
    """The legacy server alone, behind a sidecar, and with the shim in its process."""
    with (
        process("examples.legacy_server.server:create_app") as legacy,
        process("benchmarks.resume:wrapped") as inside,
        sidecar(legacy, "--backend", "agent-protocol") as shim,
    ):
        yield [
            Way("direct", legacy, directly_agent_protocol),
            Way("in process", inside, through_the_shim),
            Way("sidecar", shim, through_the_shim),
        ]


@contextmanager
def langgraph() -> Iterator[list[Way]]:
    """The current LangGraph server, alone and behind a sidecar."""
    with real_server("langgraph") as server, sidecar(server, "--backend", "langgraph") as shim:
        yield [Way("direct", server, directly_langgraph), Way("sidecar", shim, through_the_shim)]


BACKENDS = {"agent-protocol": agent_protocol, "langgraph": langgraph}


def seconds(backend: str, ways: list[Way], mode: Mode) -> list[list[float]]:
    """How long each way took, round by round."""
    rounds = ROUNDS[backend]
    threads = {way.name: _asked(backend, way.url, rounds + 1) for way in ways}
    clients = {way.name: Client(way.url) for way in ways}
    for way in ways:  # connections are made, and imports done
        way.resume(clients[way.name], threads[way.name].pop(), mode)
    taken: list[list[float]] = [[] for _ in ways]
    for number in range(rounds):
        for turn in range(len(ways)):
            index = (number + turn) % len(ways)
            way = ways[index]
            thread = threads[way.name].pop()
            begin = perf_counter()
            way.resume(clients[way.name], thread, mode)
            taken[index].append(perf_counter() - begin)
    return taken


def _asked(backend: str, url: str, count: int) -> list[str]:
    """Threads that wait for an answer."""
    with httpx.Client(base_url=url, timeout=120) as client, ThreadPoolExecutor(4) as pool:
        driver = AgentProtocolDriver(client) if backend == "agent-protocol" else LangGraphDriver(client)

        def make(_: int) -> str:
            thread = driver.thread()
            driver.start(thread, "ask", {"topic": "lunch"})
            return thread

        return list(pool.map(make, range(count)))


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
