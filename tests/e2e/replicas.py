"""Sidecars that share a guard in Redis: processes that can be killed, and a gate between them and their backend."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from enum import Enum
from random import Random
from typing import Any

import httpx
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from ap_resume_shim.core.protocol import Mode
from tests.e2e.conventions import CONVENTIONS, WEBSOCKET, Asked, Request, taken
from tests.e2e.drivers import DRIVERS
from tests.e2e.placements import app_of
from tests.support.driver import Driver
from tests.support.outcome import KEPT, Outcome
from tests.support.redis_server import RedisServer
from tests.support.serving import serving
from tests.support.sidecar import Sidecar, sidecar, sidecars

MODES = tuple(Mode)
WHO = "x-resume"
"""The header that numbers a round's resumes: the shim passes it on, with the lookups and with the resume."""
LATE = "x-late"
"""The header of a resume that the gate keeps from looking at the thread until the test lets it go."""
RESUMES = ("/runs", "/runs/wait", "/runs/stream", "/commands")
"""Ends of the paths at which an answer reaches the backend."""


class Point(Enum):
    """When a sidecar is killed."""

    LOST = "its resume has left it, and never reaches the backend"
    ANSWERED = "the backend has begun to answer its resume"
    SENT = "its resume has left it"
    LOOKING = "all are looking at the thread"
    TOLD = "its client has seen that it won"


@dataclass
class Gate:
    """Stands before the backend. No resume of a round sees the thread until `size` of them have arrived."""

    app: ASGIApp
    size: int = 0
    here: set[str] = field(default_factory=set)
    sent: list[str] = field(default_factory=list)
    late: threading.Event = field(default_factory=threading.Event)
    at: Callable[[Point, str], bool] = lambda _point, _who: False
    """Called at each point; whether that was the point to kill at."""

    def expect(self, size: int, at: Callable[[Point, str], bool] = lambda _point, _who: False) -> None:
        """Begin a round."""
        self.size, self.here, self.sent, self.at = size, set(), [], at
        self.late, self._all = threading.Event(), asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {name.decode(): value.decode() for name, value in scope.get("headers", ())}
        who = headers.get(WHO)
        if who is not None and scope["type"] == "websocket":
            receive = self._counting(who, receive)
        elif who is not None and scope["method"] == "GET":
            await self._look(who, LATE in headers)
        elif who is not None and (scope["path"].endswith(RESUMES) or scope["path"].startswith("/a2a/")):
            self.sent.append(who)
            if self.at(Point.LOST, who):
                return
            self.at(Point.SENT, who)
            send = self._telling(who, send)
        await self.app(scope, receive, send)

    async def _look(self, who: str, late: bool) -> None:
        self.here.add(who)
        if len(self.here) == self.size and not self._all.is_set():
            self.at(Point.LOOKING, who)
            self._all.set()
        await self._all.wait()
        if late:
            await asyncio.to_thread(self.late.wait, 60)

    def _counting(self, who: str, receive: Receive) -> Receive:
        async def counting() -> Message:
            message = await receive()
            if message["type"] == "websocket.receive":
                self.sent.append(who)
                if self.at(Point.LOST, who):
                    return {"type": "websocket.disconnect", "code": 1006}
                self.at(Point.SENT, who)
            return message

        return counting

    def _telling(self, who: str, send: Send) -> Send:
        async def telling(message: Message) -> None:
            if message["type"] == "http.response.start":
                self.at(Point.ANSWERED, who)
            await send(message)

        return telling


@dataclass(frozen=True)
class Click:
    """One answer of a round that is drawn at random."""

    convention: str
    value: str
    delay: float
    """Seconds after the first one."""


@dataclass(frozen=True)
class Draw:
    """A round of answers in conventions that are drawn at random."""

    clicks: tuple[Click, ...]
    together: bool
    """Whether none sees the thread before all have arrived; otherwise they are one click, within 50 ms."""
    kill: Point | None
    """When a sidecar is killed."""

    @classmethod
    def of(cls, rng: Random, names: Sequence[str], size: int, *, kills: bool) -> Draw:
        """Draw a round in these conventions: different answers together, or the same answer within 50 ms."""
        together = rng.random() < 0.5
        delays = sorted(rng.uniform(0, 0.05) for _ in range(size))
        clicks = [
            Click(rng.choice(names), str(number) if together else "click", delay) for number, delay in enumerate(delays)
        ]
        return cls(tuple(clicks), together, rng.choice(list(Point)) if kills else None)

    def __str__(self) -> str:
        clicks = [f"{click.delay * 1000:.0f} ms {click.convention}" for click in self.clicks]
        return f"{'together' if self.together else 'one click'}, killed: {self.kill}; " + "; ".join(clicks)


@dataclass(frozen=True)
class Replicas:
    """Two sidecars in front of one backend, and the backend's own clients' way to it."""

    sidecars: list[Sidecar]
    gate: Gate
    driver: Driver
    client: httpx.Client
    another: Callable[[], Sidecar]
    """Starts one more sidecar."""

    def thread(self, agent: str, **state: Any) -> str:
        """A thread that waits for an answer."""
        return self.driver.start(agent, {**self.driver.initial, **state})

    def resume(
        self, through: int, mode: Mode, thread: str, headers: dict[str, str] | None = None, **body: Any
    ) -> Outcome:
        """One resume, through one of the sidecars."""
        url = self.sidecars[through].url + mode.route
        return Outcome(self.client.patch(url, json={"thread_id": thread, **body}, headers=headers), mode)

    def of(self, who: str) -> Sidecar:
        """The sidecar that a round's resume goes through."""
        return self.sidecars[int(who) % len(self.sidecars)]

    def restart(self, killed: Sidecar) -> None:
        """Start a sidecar in the place of one that was killed."""
        self.sidecars[self.sidecars.index(killed)] = self.another()

    async def send(
        self, client: httpx.AsyncClient, who: str, request: Request, *, late: bool = False
    ) -> httpx.Response | None:
        """Send one of a round's resumes; None if the response broke off."""
        headers, url = {**request.headers, WHO: who, **({LATE: "yes"} if late else {})}, self.of(who).url + request.path
        if request.method == WEBSOCKET:
            return await command(url, headers, request.json)
        try:
            async with client.stream(request.method, url, json=request.json, headers=headers) as response:
                if response.is_success:
                    self.gate.at(Point.TOLD, who)
                await response.aread()
        except httpx.TransportError:
            return None
        return response

    async def click(self, seen: Asked, draw: Draw, numbers: range, *, late: bool = False) -> list[str | None]:
        """Send these answers of a round. Returns the fate of each: "taken", or the refusal; None if it broke off."""
        async with httpx.AsyncClient(timeout=180, verify=False) as client:

            async def one(number: int) -> str | None:
                click = draw.clicks[number]
                await asyncio.sleep(click.delay)
                request = CONVENTIONS[click.convention](seen, click.value)
                response = await self.send(client, str(number), request, late=late)
                return None if response is None else "taken" if taken(response) else response.text

            return await asyncio.gather(*(one(number) for number in numbers))

    async def at_once(
        self, thread: str, numbers: range, *, first: int, on_disconnect: str = "cancel", late: bool = False
    ) -> list[Outcome | None]:
        """A resume for each number, which is its answer, in all modes; None for one whose answer broke off.

        `first` shifts the modes; `late` ones are kept from looking at the thread until the gate's `late` is set.
        """
        async with httpx.AsyncClient(timeout=180, verify=False) as client:

            async def one(number: int) -> Outcome | None:
                mode, who = MODES[(first + number) % len(MODES)], str(number)
                body = {"thread_id": thread, "input": who, "on_disconnect": on_disconnect}
                response = await self.send(client, who, Request(mode.route, body, method="PATCH"), late=late)
                return None if response is None else Outcome(response, mode)

            return await asyncio.gather(*(one(number) for number in numbers))


async def command(url: str, headers: dict[str, str], value: Any) -> httpx.Response | None:
    """Send a command on a WebSocket of its own. Returns the response as that of HTTP; None if it does not come."""
    try:
        async with connect(url.replace("http", "ws", 1), additional_headers=headers, open_timeout=60) as socket:
            await socket.send(json.dumps(value))
            async for message in socket:
                reply = json.loads(message)
                if reply["type"] != "event" and reply["id"] == value["id"]:
                    return httpx.Response(200, json=reply)
    except (OSError, EOFError, WebSocketException):
        pass
    return None


@contextmanager
def replicas(backend: str, redis: RedisServer, *options: str) -> Iterator[Replicas]:
    """Two sidecars in front of a backend. The real server is the one of the environment, or is started."""
    kind = DRIVERS[backend]
    with (
        app_of(backend) as app,
        serving(gate := Gate(app)) as upstream,
        ExitStack() as stack,
        httpx.Client(base_url=upstream, timeout=180, limits=KEPT, verify=False) as client,
    ):
        patient = "--lookup-timeout", "120"  # a server that other tests use, too, may be slow
        every = (
            "--upstream",
            upstream,
            "--port",
            "0",
            "--backend",
            kind.backend,
            "--guard",
            redis.url,
            *patient,
            *options,
        )
        made = stack.enter_context(sidecars(2, *every))
        yield Replicas(made, gate, kind(client), client, lambda: stack.enter_context(sidecar(*every)))
