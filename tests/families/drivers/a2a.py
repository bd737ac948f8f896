"""A2A: three bindings of the current SDK, and the SDK of version 0.3. A thread is a context; a run is a task."""

from __future__ import annotations

import json
import uuid
from typing import Any, ClassVar

import httpx

from tests.support.driver import Driver


class A2A(Driver):
    """JSON-RPC 1.0: what the server's card prefers."""

    name = "a2a-jsonrpc"
    backend = "a2a"
    server = "a2a"
    asks = ("ask", "ask-auth")
    wrong: ClassVar[tuple[Any, ...]] = (3, {"amount": [3]})  # numbers are doubles: the agent would hear 3.0
    one_at_a_time = True  # each question is one of another task
    restarts = True
    send: ClassVar[str] = "SendMessage"
    """The method that sends a message."""
    stream: ClassVar[str] = "SendStreamingMessage"
    """The method that sends a message and streams what comes of it."""

    def start(self, scenario: str, state: dict[str, Any], *, wait: bool = True, on: str | None = None) -> str:
        """The context's id. Two questions at once are two tasks of one context."""
        context, tasks = on or str(uuid.uuid4()), 2 if scenario == "par" else 1
        play = {"scenario": "ask" if scenario == "par" else scenario, **state}
        for _ in range(tasks):
            message = {"messageId": str(uuid.uuid4()), "contextId": context, **self.said(json.dumps(play))}
            answer = self.post(message, wait=wait)
            assert answer.is_success and "error" not in answer.json(), answer.text
        return context

    def said(self, text: str) -> dict[str, Any]:
        """A user's message."""
        return {"role": "ROLE_USER", "parts": [{"text": text}]}

    def post(self, message: dict[str, Any], *, wait: bool) -> httpx.Response:
        """Send a message that begins a task."""
        return self.call("/a2a", {"message": message, "configuration": {"returnImmediately": not wait}})

    def call(self, path: str, params: dict[str, Any], **headers: str) -> httpx.Response:
        """Call a method by JSON-RPC."""
        request = {"jsonrpc": "2.0", "id": 1, "method": self.send, "params": params}
        return self.client.post(path, json=request, headers={"A2A-Version": "1.0", **headers})

    def resumes(self, seen: dict[str, Any]) -> bool:
        """A message to a task."""
        body = seen["body"]
        if not isinstance(body, dict) or body.get("method") not in (self.send, self.stream):
            return False
        return "taskId" in body["params"]["message"]

    def agent_id(self, scenario: str) -> str:
        """The name on the card: a server has one agent."""
        return "Theatre"


class A2ARest(A2A):
    """REST 1.0: all that the card under `/rest` has."""

    name = "a2a-rest"
    options: ClassVar[dict[str, str]] = {"card": "/rest/.well-known/agent-card.json"}

    def post(self, message: dict[str, Any], *, wait: bool) -> httpx.Response:
        """Send a message that begins a task."""
        body = {"message": message, "configuration": {"returnImmediately": not wait}}
        return self.client.post("/rest/a2a/message:send", json=body, headers={"A2A-Version": "1.0"})

    def resumes(self, seen: dict[str, Any]) -> bool:
        """A message to a task."""
        return seen["path"].endswith((":send", ":stream")) and "taskId" in seen["body"]["message"]


class A2ACompat(A2A):
    """JSON-RPC 0.3 on the current SDK, against the preference of its card."""

    name = "a2a-jsonrpc-0.3"
    options: ClassVar[dict[str, str]] = {"binding": "jsonrpc-0.3"}
    fresh = False
    has_lookup = False  # 0.3 has no list of tasks
    wrong: ClassVar[tuple[Any, ...]] = (3, True, None, [], {"amount": 3})  # data has to be an object
    send = "message/send"
    stream = "message/stream"
    path: ClassVar[str] = "/a2a"
    """Where the server speaks JSON-RPC."""

    def said(self, text: str) -> dict[str, Any]:
        """A user's message."""
        return {"kind": "message", "role": "user", "parts": [{"kind": "text", "text": text}]}

    def post(self, message: dict[str, Any], *, wait: bool) -> httpx.Response:
        """Send a message that begins a task."""
        params = {"message": message, "configuration": {"blocking": wait}}
        return self.call(self.path, params, **{"A2A-Version": "0.3"})


class A2AOld(A2ACompat):
    """JSON-RPC 0.3 on its own SDK, whose data are Python's."""

    name = "a2a-old"
    server = "a2a-old"
    options: ClassVar[dict[str, str]] = {}
    wrong: ClassVar[tuple[Any, ...]] = (3, True, None, [])
    path = "/"
