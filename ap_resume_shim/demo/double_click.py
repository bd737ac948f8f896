"""`ap-resume-shim demo`: a double click on an agent server, without the shim and with it, on the terminal."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import socket
import sys
import textwrap
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx

from ap_resume_shim import ResumeShim, ReverseProxy
from ap_resume_shim.demo import create_app
from ap_resume_shim.http1.server import Http1Server

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

WIDTH = 108
"""Maximum width of the output, in columns."""
_LABEL = 19
"""Width of the labels on the left, in columns."""
_ID = re.compile(r"([0-9a-f]{8})-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}")
_BOLD, _RED, _GREEN, _YELLOW, _CYAN = 1, 31, 32, 33, 36


@dataclass(frozen=True)
class Story:
    """The requests of a backend's own API. In `run`, `$thread` stands for the thread's id."""

    backend: str
    threads: tuple[str, str]
    """Ids of the thread without the shim, and of the one with it."""
    run: str
    """Path of the request that starts a run and waits for its end."""
    start: dict[str, Any]
    """Body that starts the agent."""
    answer: dict[str, Any]
    """Body that answers its question by the backend's own API."""
    stream_mode: str
    result: str
    """Name of the value that shows the agent's last step."""

    def request(self, body: dict[str, Any], thread: str) -> tuple[str, dict[str, Any]]:
        """Return path and body of a request about a thread."""
        path = self.run.replace("$thread", thread)
        return path, body if path != self.run else {"thread_id": thread, **body}


DEPLOY = Story(
    "agent-protocol",
    ("t-1", "t-2"),
    "/runs/wait",
    {"agent_id": "deploy", "input": {"release": "4.2"}},
    {"input": {"command": {"resume": "approve"}}},
    "custom",
    "log",
)


def play(story: Story = DEPLOY, agent: ASGIApp | None = None) -> None:
    """Run the demo. `agent` is the agent server; default: the one in this package."""
    asyncio.run(_show(story, agent or create_app()))


async def _show(story: Story, agent: ASGIApp) -> None:
    async with (
        serving(spy := _Spy(agent)) as server,
        aclosing(ReverseProxy(server)) as proxy,
        serving(ResumeShim(proxy, story.backend)) as shim,
    ):
        today, guarded = story.threads
        _heading("1. Today: a person clicks on `approve` twice")
        async with client_for(server) as client:
            await _start(client, story, today)
            path, body = story.request(story.answer, today)
            for click in ("first click", "second click"):
                _say(click, f"POST {path} {json.dumps(body)}")
                status = (await client.post(path, json=body)).status_code
                await _outcome(client, story, today, status, again=click != "first click")
        _heading("2. The same server, with the shim in front")
        async with client_for(shim) as client:
            await _start(client, story, guarded)
            body = {"thread_id": guarded, "input": "approve"}
            await _stream(client, {**body, "stream_mode": story.stream_mode}, spy)
            await _outcome(client, story, guarded, 200, again=False)
            spy.listening = True
            _say("second click", f"PATCH /runs/resume {json.dumps(body)}")
            refused = await client.patch("/runs/resume", json=body)
            problem = refused.json()
            _say("", f"{refused.status_code} {problem['code']}: {problem['message']}", _GREEN)
    print("\nThe shim refused the second click after it had looked at the thread. The agent received one answer.")
    print("In front of your own server: ap-resume-shim serve --upstream http://127.0.0.1:2024", flush=True)


async def _start(client: httpx.AsyncClient, story: Story, thread: str) -> None:
    """Start the agent, which stops at its question."""
    (await client.post("/threads", json={"thread_id": thread})).raise_for_status()
    path, body = story.request(story.start, thread)
    (await client.post(path, json=body)).raise_for_status()
    _say("the agent asks", _question(await _thread(client, thread)), _YELLOW)


async def _stream(client: httpx.AsyncClient, body: dict[str, Any], spy: _Spy) -> None:
    """Answer; print what the server receives until the first event, and each event of the response on a line."""
    spy.listening = True
    _say("first click", f"PATCH /runs/resume/stream {json.dumps(body)}")
    event: list[str] = []
    async with client.stream("PATCH", "/runs/resume/stream", json=body) as response:
        async for line in response.aiter_lines():
            if line.startswith(("event:", "data:")):
                event.append(line)
            elif event:
                spy.listening = False
                _say("  streamed", "  ".join(event))
                event.clear()


async def _outcome(client: httpx.AsyncClient, story: Story, thread: str, status: int, *, again: bool) -> None:
    """Print the effect of an answer: the agent continued, or, for a second one, it started again or did nothing."""
    state = await _thread(client, thread)
    if state["status"] == "interrupted":
        _say("", f"{status}: the agent has started again, and asks: {_question(state)}", _RED)
    elif again:
        _say("", f"{status}, although no question was pending", _RED)
    else:
        result = state["values"][story.result]
        _say("", f"{status}: the agent has continued: {result[-1] if isinstance(result, list) else result}", _GREEN)


async def _thread(client: httpx.AsyncClient, thread: str) -> dict[str, Any]:
    return dict((await client.get(f"/threads/{thread}")).raise_for_status().json())


def _question(thread: dict[str, Any]) -> str:
    pending = thread["interrupts"]
    (first, *_) = pending if isinstance(pending, list) else [each for task in pending.values() for each in task]
    return str(first["value"]["question"])


class _Spy:
    """Prints the requests that reach the agent server while the shim works."""

    def __init__(self, app: ASGIApp) -> None:
        self.app, self.listening = app, False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass every request on."""
        if scope["type"] == "http" and self.listening:
            first = await receive()
            body = json.dumps(json.loads(first["body"])) if first.get("body") else ""
            _say("  server receives", f"{scope['method']} {scope['path']} {body}".rstrip(), _CYAN)
            pending, receive_rest = [first], receive

            async def receive() -> Any:
                return pending.pop() if pending else await receive_rest()

        await self.app(scope, receive, send)


@asynccontextmanager
async def serving(app: ASGIApp) -> AsyncIterator[str]:
    """Serve an app on a free loopback port; yield its URL."""
    listening = socket.socket(proto=socket.IPPROTO_TCP)
    listening.bind(("127.0.0.1", 0))
    server = Http1Server(app)
    await server.start([listening])
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        await server.close()


def client_for(url: str) -> httpx.AsyncClient:
    """Return a client of a server on the loopback interface."""
    return httpx.AsyncClient(base_url=url, timeout=60, trust_env=False)  # loopback needs no proxy


def _heading(text: str) -> None:
    print(f"\n{_painted(_BOLD, text)}\n", flush=True)


def _say(label: str, text: str, colour: int = 0) -> None:
    """Print a label and a text beside it, wrapped, with long ids shortened."""
    width = min(WIDTH, shutil.get_terminal_size((WIDTH, 24)).columns) - _LABEL
    for number, line in enumerate(textwrap.wrap(_ID.sub(r"\1…", text), max(width, 40), break_on_hyphens=False)):
        print(f"{'' if number else label:<{_LABEL}}{_painted(colour, line)}", flush=True)


def _painted(colour: int, text: str) -> str:
    coloured = "FORCE_COLOR" in os.environ or (sys.stdout.isatty() and "NO_COLOR" not in os.environ)
    return f"\033[{colour}m{text}\033[0m" if colour and coloured else text
