"""A demo on a terminal: `make demo`, or `make demo BACKEND=langgraph`.

It starts a legacy server whose agent stops at a question, with the shim in front. It prints the client's requests, the
requests that the backend receives, the streamed response, and two resumes that are refused.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from starlette.types import ASGIApp, Receive, Scope, Send

from ap_resume_shim import ResumeShim, ReverseProxy
from ap_resume_shim.demo import create_app
from tests.servers.run import start
from tests.support.serving import serving

UNKNOWN = "00000000-0000-4000-8000-000000000000"


@dataclass(frozen=True)
class Story:
    """How the demo brings a thread to its question, in the backend's own API."""

    backend: str
    run: str
    body: dict[str, Any]
    question: str
    """JSON pointer to the question in the thread."""


STORIES = {
    "legacy": Story(
        "agent-protocol",
        "/runs/wait",
        {"thread_id": "$thread", "agent_id": "deploy", "input": {"release": "4.2"}},
        "/threads/$thread",
    ),
    "langgraph": Story(
        "langgraph",
        "/threads/$thread/runs/wait",
        {"assistant_id": "ask", "input": {"topic": "release 4.2 in production"}},
        "/threads/$thread",
    ),
}


class Spy:
    """Prints the requests that reach the backend while the shim works."""

    def __init__(self, app: ASGIApp) -> None:
        self.app, self.listening = app, False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass every request on."""
        if scope["type"] != "http" or not self.listening:
            await self.app(scope, receive, send)
            return
        first = await receive()
        line = f"{scope['method']} {scope['path']}"
        if scope["query_string"]:
            line += f"?{scope['query_string'].decode()}"
        body = first.get("body") or b""
        say("  the backend gets", f"{line} {body.decode()}".rstrip(), colour=36)
        pending = [first]

        async def replay() -> Any:
            return pending.pop() if pending else await receive()

        await self.app(scope, replay, send)


@contextmanager
def backend(name: str) -> Iterator[ASGIApp]:
    """Yield the server behind the shim."""
    if name == "legacy":
        yield create_app()
    else:
        print(f"Starting a real {name} server (the first time, its packages are installed) ...\n", flush=True)
        with start(name) as server:
            yield ReverseProxy(server.url)


def tell(name: str) -> None:
    """Run the demo."""
    story = STORIES[name]
    with (
        backend(name) as app,
        serving(spy := Spy(app)) as legacy,
        serving(ResumeShim(ReverseProxy(legacy), story.backend)) as shim,
    ):
        client = httpx.Client(base_url=shim, timeout=60)
        thread = client.post("/threads", json={}).json()["thread_id"]

        heading("1. An agent stops and asks")
        fill = json.loads(json.dumps([story.run, story.body, story.question]).replace("$thread", thread))
        client.post(fill[0], json=fill[1]).raise_for_status()
        asked = client.get(fill[2]).json()
        say("thread", f"{thread} is {asked['status']}")
        say("question", json.dumps(asked["interrupts"], indent=2), colour=33)

        heading("2. A person answers, through the draft's route")
        spy.listening = True
        body = {"thread_id": thread, "input": "approve", "stream_mode": ["updates"]}
        say("the client sends", f"PATCH /runs/resume/stream {json.dumps(body)}", colour=32)
        with client.stream("PATCH", "/runs/resume/stream", json=body) as response:
            say("the client gets", f"{response.status_code}, a stream:", colour=32)
            for line in response.iter_lines():
                print("   ", line)

        heading("3. The same answer again: a double click, a retry after a time-out")
        refused(client, {"thread_id": thread, "input": "approve"})

        heading("4. A thread that does not exist")
        refused(client, {"thread_id": UNKNOWN, "input": "approve"})
        print("\nThe two refusals reached the backend as lookups only: no run was created.")


def refused(client: httpx.Client, body: dict[str, Any]) -> None:
    """Send a resume that is refused, and print the response."""
    say("the client sends", f"PATCH /runs/resume {json.dumps(body)}", colour=32)
    answer = client.patch("/runs/resume", json=body)
    say("the client gets", f"{answer.status_code} {json.dumps(answer.json(), indent=2)}", colour=31)


def heading(text: str) -> None:
    """Print a heading."""
    print(f"\n{_paint(1, text)}", flush=True)


def say(who: str, what: str, colour: int = 0) -> None:
    """Print one action of a party."""
    print(f"{who + ':':<20}{_paint(colour, what)}", flush=True)


def _paint(colour: int, text: str) -> str:
    return f"\033[{colour}m{text}\033[0m" if sys.stdout.isatty() else text


if __name__ == "__main__":
    wanted = sys.argv[1] if len(sys.argv) > 1 else "legacy"
    if wanted not in STORIES:
        sys.exit(f"There is no demo for {wanted!r}; there are {', '.join(STORIES)}.")
    tell(wanted)
