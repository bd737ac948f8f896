"""Answers as the clients of today send them, by family: the request that answers what a thread asks."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import httpx

from tests.support.world import Thread

Answer = tuple[str, dict[str, Any]]
"""A path, and the arguments of a POST to it."""
ANSWERED = {"confirmed": True}


class Vendor:
    """A client that uses the server's own API, and reads its questions from there."""

    def __init__(self, client: httpx.Client, seen: list[httpx.Response]) -> None:
        """`seen` are the responses to what started the thread."""
        self.client, self._seen = client, seen

    def get(self, path: str) -> Any:
        """The JSON at a path."""
        return self.client.get(path).raise_for_status().json()

    def started(self, name: str) -> Any:
        """The last value with that name in the responses that started the thread."""
        return next(
            found for response in reversed(self._seen) for value in _values(response) for found in _named(name, value)
        )


def _values(response: httpx.Response) -> Iterator[Any]:
    """The JSON values in a response, the last one first."""
    lines = [line.removeprefix("data:").strip() for line in response.text.splitlines()]
    for text in (response.text, *reversed(lines)):
        try:
            yield json.loads(text)
        except ValueError:
            continue


def _named(name: str, value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        if value.get(name):
            yield value[name]
        for item in value.values():
            yield from _named(name, item)
    elif isinstance(value, list):
        for item in value:
            yield from _named(name, item)


Convention = Callable[[Vendor, Thread, Any], Answer]


def _message(vendor: Vendor, value: Any, *, old: bool = False) -> dict[str, Any]:
    part = {"kind": "text", "text": value} if old else {"text": value}
    kind = {"kind": "message", "role": "user"} if old else {"role": "ROLE_USER"}
    return {"messageId": str(uuid.uuid4()), "taskId": _task(vendor), "parts": [part], **kind}


def _task(vendor: Vendor) -> str:
    """The task that asks: an agent's question names it."""
    return str(vendor.started("taskId"))


def _rpc(path: str, method: str, version: str, *, context: bool = True) -> Convention:
    def call(vendor: Vendor, thread: Thread, value: Any) -> Answer:
        message = _message(vendor, value, old=version == "0.3")
        if context:
            message["contextId"] = thread
        body = {"jsonrpc": "2.0", "id": str(uuid.uuid4()), "method": method, "params": {"message": message}}
        return path, {"json": body, "headers": {"a2a-version": version}}

    return call


def _rest(operation: str) -> Convention:
    def call(vendor: Vendor, thread: Thread, value: Any) -> Answer:
        body = {"message": {**_message(vendor, value), "contextId": thread}, "configuration": {}}
        return f"/rest/a2a/message:{operation}", {"json": body, "headers": {"a2a-version": "1.0"}}

    return call


def _agno(kind: str, parts: str, *, multipart: bool = False, stream: str = "false") -> Convention:
    def call(vendor: Vendor, thread: Thread, value: Any) -> Answer:
        run_id = next(
            run["run_id"]
            for run in vendor.get(f"/sessions/{thread}/runs")
            if run["status"] == "PAUSED" and not run.get("parent_run_id")
        )
        (run,) = (r for r in vendor.get(f"/sessions/{thread}/runs") if r["run_id"] == run_id)
        component = run.get("workflow_id") or run.get("team_id") or run.get("agent_id")
        path = f"/{kind}/{component}/runs/{run_id}"
        asked = vendor.get(f"{path}?session_id={thread}")[parts]
        for part in asked:
            for where in (part, part.get("tool_execution") or {}):
                if where.get("requires_confirmation") and where.get("confirmed") is None:
                    where["confirmed"] = value
            if "tool_execution" in part:
                part["confirmation"] = value
        fields = {parts: json.dumps(asked), "stream": stream, "session_id": thread}
        if multipart:
            return f"{path}/continue", {"files": {name: (None, item) for name, item in fields.items()}}
        return f"{path}/continue", {"data": fields}

    return call


def _adk(path: str, *, snake: bool = False) -> Convention:
    def call(vendor: Vendor, thread: Thread, value: Any) -> Answer:
        app = next(
            app
            for app in vendor.get("/list-apps")
            if vendor.client.get(f"/apps/{app}/users/user/sessions/{thread}").is_success
        )
        events = vendor.get(f"/apps/{app}/users/user/sessions/{thread}")["events"]
        asked = next(event for event in reversed(events) if event.get("longRunningToolIds"))
        calls = [part["functionCall"] for part in asked["content"]["parts"] if part.get("functionCall")]
        long = [item for item in calls if item["id"] in asked["longRunningToolIds"]]
        response = {"confirmed": value} if long[0]["name"] == "adk_request_confirmation" else {"result": value}
        answer = {"id": long[0]["id"], "name": long[0]["name"], "response": response}
        if snake:
            message: Any = {"role": "user", "parts": [{"function_response": answer}]}
            return path, {"json": {"app_name": app, "user_id": "user", "session_id": thread, "new_message": message}}
        message = {"role": "user", "parts": [{"functionResponse": answer}]}
        return path, {"json": {"appName": app, "userId": "user", "sessionId": thread, "newMessage": message}}

    return call


def _workflow(operation: str) -> Convention:
    def call(vendor: Vendor, thread: Thread, value: Any) -> Answer:
        name = next(
            name
            for name in vendor.get("/api/workflows?partial=true")
            if vendor.client.get(f"/api/workflows/{name}/runs/{thread}").is_success
        )
        return f"/api/workflows/{name}/{operation}?runId={thread}", {"json": {"resumeData": value}}

    return call


def _agent(operation: str) -> Convention:
    def call(vendor: Vendor, thread: Thread, value: Any) -> Answer:
        (run,) = vendor.get(f"/api/agents/helper/suspended-runs?threadId={thread}")["runs"]
        body = {"runId": run["runId"], "toolCallId": run["toolCalls"][0]["toolCallId"]}
        if operation == "send-tool-approval":
            body = {**body, "threadId": thread, "resourceId": "tests", "approved": value}
        elif operation == "resume-stream":
            memory = {"thread": thread, "resource": "tests"}
            body = {**body, "memory": memory, "resumeData": {"approved": value}}
        return f"/api/agents/helper/{operation}", {"json": body}

    return call


def _event(vendor: Vendor, thread: Thread, value: Any) -> Answer:
    return f"/events/{thread}", {"json": {"event": {"type": "Answer", "value": {"response": value}}}}


def _acp(mode: str) -> Convention:
    def call(vendor: Vendor, thread: Thread, value: Any) -> Answer:
        parts = [{"content_type": "text/plain", "content": value}]
        body = {"await_resume": {"type": "message", "message": {"role": "user", "parts": parts}}, "mode": mode}
        return f"/runs/{vendor.started('run_id')}", {"json": body}

    return call


def _ag_ui(path: str, *, entries: bool = True) -> Convention:
    def call(vendor: Vendor, thread: Thread, value: Any) -> Answer:
        messages: list[Any] = next(_named_or(vendor, "messages"), [])
        run: dict[str, Any] = {
            "threadId": thread,
            "runId": str(uuid.uuid4()),
            "state": {},
            "messages": messages,
            "tools": [],
        }
        if entries:
            asked = vendor.started("interrupts")
            resume = [{"interruptId": item["id"], "status": "resolved", "payload": value} for item in asked]
            return path, {"json": {**run, "context": [], "forwardedProps": {}, "resume": resume}}
        return path, {"json": {**run, "context": [], "forwardedProps": {"command": {"resume": value}}}}

    return call


def _named_or(vendor: Vendor, name: str) -> Iterator[Any]:
    try:
        yield vendor.started(name)
    except StopIteration:
        return


def _run(path: str, field: str | None, *, threads: str = "/threads") -> Convention:
    def call(vendor: Vendor, thread: Thread, value: Any) -> Answer:
        runs = vendor.get(f"{threads}/{thread}/runs")
        run_id = next(run["run_id"] for run in runs if run["status"] == "interrupted")
        where = path.format(threads=f"{threads}/{thread}", run_id=run_id)
        body = value if field is None else {field: {"resume": value} if field == "command" else value}
        return where, {"json": body}

    return call


def _command(vendor: Vendor, thread: Thread, value: Any) -> Answer:
    runs = vendor.get(f"/threads/{thread}/runs")
    run = next(run for run in runs if run["status"] == "interrupted")
    params = {"namespace": [], "interrupt_id": run["interrupts"][0]["id"], "response": value}
    return f"/threads/{thread}/commands", {"json": {"id": 1, "method": "input.respond", "params": params}}


def _start(vendor: Vendor, thread: Thread, value: Any) -> Answer:
    params = {"assistant_id": "scenarios", "input": {"scenario": "ask", "ref": thread.ref}}
    return f"/threads/{thread}/commands", {"json": {"id": 1, "method": "run.start", "params": params}}


def _v1(vendor: Vendor, thread: Thread, value: Any) -> Answer:
    body = {"assistant_id": "scenarios", "command": {"resume": value}}
    return f"/threads/{thread}/runs/wait", {"json": body}


_BELOW = "{threads}/runs/{run_id}/resume"
CONVENTIONS: dict[str, dict[str, Convention]] = {
    "a2a-jsonrpc": {
        "send": _rpc("/a2a", "SendMessage", "1.0"),
        "stream": _rpc("/a2a", "SendStreamingMessage", "1.0"),
        "task-alone": _rpc("/a2a", "SendMessage", "1.0", context=False),
    },
    "a2a-rest": {"send": _rest("send"), "stream": _rest("stream")},
    "a2a-jsonrpc-0.3": {
        "send": _rpc("/a2a", "message/send", "0.3"),
        "stream": _rpc("/a2a", "message/stream", "0.3"),
    },
    "a2a-old": {"send": _rpc("/", "message/send", "0.3"), "stream": _rpc("/", "message/stream", "0.3")},
    "agno": {
        "form": _agno("agents", "tools"),
        "multipart": _agno("agents", "tools", multipart=True),
        "stream": _agno("agents", "tools", stream="true"),
    },
    "agno-team": {"form": _agno("teams", "requirements")},
    "agno-workflow": {"form": _agno("workflows", "step_requirements")},
    "adk": {"run": _adk("/run"), "run_sse": _adk("/run_sse"), "snake": _adk("/run", snake=True)},
    "adk-resumable": {"run": _adk("/run")},
    "mastra": {name: _workflow(name) for name in ("resume", "resume-async", "resume-no-wait", "resume-stream")},
    "mastra-agent": {
        name: _agent(name)
        for name in ("approve-tool-call", "approve-tool-call-generate", "resume-stream", "send-tool-approval")
    },
    "llamaindex": {"event": _event},
    "acp": {name: _acp(name) for name in ("sync", "async", "stream")},
    "acp-run": {"sync": _acp("sync")},
    "ag-ui-langgraph": {"command": _ag_ui("/", entries=False)},
    "ag-ui-langgraph-outcome": {"entries": _ag_ui("/outcome"), "command": _ag_ui("/outcome", entries=False)},
    "ag-ui-strands": {"entries": _ag_ui("/")},
    "ag-ui-agent-framework": {"entries": _ag_ui("/")},
    "ag-ui-agent-framework-agent": {"entries": _ag_ui("/agent")},
    "agentseek": {"resume": _run(_BELOW, "resume"), "v1": _v1, "v2": _command},
    "langrove": {"v1": _v1},
    "agntcy": {"run": _run("/runs/{run_id}", None)},
    "duragraph": {"run": _run(_BELOW, "command", threads="/api/v1/threads")},
    "hobby-values": {"run": _run(_BELOW, "values")},
    "hobby-input": {"run": _run(_BELOW, "input")},
    "hobby-resume": {"run": _run(_BELOW, "resume")},
    "hobby-body": {"run": _run(_BELOW, None)},
}
"""The conventions of each subject, by a name."""
NEW_TURNS: dict[str, Convention] = {"agentseek": _start}
"""Requests that answer on LangGraph's servers, and start anew on these, by subject."""
