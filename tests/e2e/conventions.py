"""The conventions in which clients of LangGraph's servers answer, as requests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import httpx

from ap_resume_shim.core.protocol import Mode
from tests.support.driver import Driver

WEBSOCKET = "WEBSOCKET"
"""The method of a command that is a message on a WebSocket."""


@dataclass(frozen=True)
class Asked:
    """A thread that asks, as a client has seen it."""

    thread: str
    agent: str
    assistant: str
    """The id of the agent's assistant."""
    run_id: str
    """Its first run: the task of A2A clients."""
    ids: tuple[str, ...]
    """Its questions."""


@dataclass(frozen=True)
class Request:
    """One answer."""

    path: str
    json: Any
    headers: dict[str, str] = field(default_factory=dict)
    method: str = "POST"


Convention = Callable[[Asked, Any], Request]
"""Makes the request that answers a question with a value."""


def asked(driver: Driver, thread: str, agent: str = "two") -> Asked:
    """Look at a thread that asks."""
    state = driver.client.get(f"/threads/{thread}/state").raise_for_status().json()
    ids = [found.get("interrupt_id") or found["id"] for task in state["tasks"] for found in task["interrupts"]]
    return Asked(thread, agent, driver.agent_id(agent), driver.runs(thread)[-1]["run_id"], tuple(ids))


STAYS = {"on_disconnect": "continue"}
"""The field of a client whose run goes on when it leaves, or when its sidecar is killed."""


def draft(mode: Mode, *, pinned: bool = False, more: dict[str, Any] = STAYS) -> Convention:
    """A route of the draft; `pinned`: with the id of the question."""

    def convention(asked: Asked, value: Any) -> Request:
        pin = {"interrupt_id": asked.ids[0]} if pinned else {}
        return Request(mode.route, {"thread_id": asked.thread, "input": value, **pin, **more}, method="PATCH")

    return convention


def create(mode: Mode, *, keyed: bool = False, more: dict[str, Any] = STAYS) -> Convention:
    """v1, as `client.runs.create`, `wait` and `stream` of langgraph-sdk; `keyed`: by the ids of the questions."""

    def convention(asked: Asked, value: Any) -> Request:
        resume = dict.fromkeys(asked.ids, value) if keyed else value
        command = {"assistant_id": asked.agent, "command": {"resume": resume}}
        return Request(f"/threads/{asked.thread}/runs{mode.value}", {**command, **more})

    return convention


def cron(asked: Asked, value: Any) -> Request:
    """A cron of the thread, which would answer when it fires."""
    request = create(Mode.BACKGROUND, more={"schedule": "* * * * *"})(asked, value)
    return replace(request, path=f"{request.path}/crons")


def command(thread: str, method: str, **params: Any) -> Request:
    """A command of v2."""
    return Request(f"/threads/{thread}/commands", {"id": 7, "method": method, "params": params})


def run_start(asked: Asked, value: Any) -> Request:
    """v2: `run.start` on a thread that asks."""
    return command(asked.thread, "run.start", assistant_id=asked.agent, input=value)


def respond(asked: Asked, value: Any) -> Request:
    """v2: `input.respond` with the id of the question."""
    return command(asked.thread, "input.respond", interrupt_id=asked.ids[0], response=value)


def respond_to_many(asked: Asked, value: Any) -> Request:
    """v2: `input.respond` with the ids of all questions."""
    responses = [{"interrupt_id": interrupt_id, "response": value} for interrupt_id in asked.ids]
    return command(asked.thread, "input.respond", responses=responses)


def over_websocket(convention: Convention) -> Convention:
    """v2: the same command on the WebSocket of the thread's events."""

    def over(asked: Asked, value: Any) -> Request:
        return Request(f"/threads/{asked.thread}/stream/events", convention(asked, value).json, method=WEBSOCKET)

    return over


def a2a(asked: Asked, value: Any, method: str = "message/send") -> Request:
    """The server's own A2A route, with a data part that answers."""
    part = {"kind": "data", "data": {"resume": value}}
    message = {"role": "user", "kind": "message", "messageId": "m", "parts": [part]}
    ids = {"contextId": asked.thread, "taskId": f"{asked.thread}:{asked.run_id}"}
    call = {"jsonrpc": "2.0", "id": "1", "method": method, "params": {"message": {**message, **ids}}}
    accept = "text/event-stream" if method == "message/stream" else "application/json"
    return Request(f"/a2a/{asked.assistant}", call, {"accept": accept})


def a2a_stream(asked: Asked, value: Any) -> Request:
    """The same with a stream as its response."""
    return a2a(asked, value, "message/stream")


CONVENTIONS: dict[str, Convention] = {
    **{f"PATCH {mode.route}": draft(mode) for mode in Mode},
    "PATCH, pinned": draft(Mode.BACKGROUND, pinned=True),
    **{f"runs{mode.value}": create(mode) for mode in Mode},
    **{f"runs{mode.value}, keyed": create(mode, keyed=True) for mode in Mode},
    "run.start": run_start,
    "input.respond": respond,
    "input.respond, many": respond_to_many,
    "a2a": a2a,
    "WebSocket run.start": over_websocket(run_start),
    "WebSocket input.respond": over_websocket(respond),
}
"""All of the current server, by name."""


def taken(response: httpx.Response) -> bool:
    """Whether the answer was taken. Asserts that a refusal has the form of its convention."""
    assert response.status_code in (200, 409), response.text
    text = response.text.replace(" ", "")
    return response.status_code == 200 and '"type":"error"' not in text and '"error":{' not in text
