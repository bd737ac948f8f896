"""Requests of today's clients, in the form in which they were recorded."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import unquote, urlencode

from ap_resume_shim.backends import load_backend
from ap_resume_shim.core.protocol import Mode
from ap_resume_shim.core.vendor_resume import ClientRequest, VendorResume

T, R, TASK, HEX = "7c1c2f5e-thread", "3afeaa19-run", "1fc58de3-task", "0123456789abcdef0123456789abcdef"
JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data; boundary=b"
BACKGROUND, WAIT, STREAM = Mode


def client(line: str, body: Any = None, media_type: str = JSON) -> ClientRequest:
    """A client's request: `POST /path?query` with a JSON value, or with a body as bytes or text."""
    method, _, target = line.partition(" ")
    path, _, query = target.partition("?")
    raw = body.encode() if isinstance(body, str) else body if isinstance(body, bytes) else json.dumps(body).encode()
    return ClientRequest(method, unquote(path), query, (("content-type", media_type),), raw)


def recognised(backend: str, request: ClientRequest, **options: str) -> VendorResume | None:
    """What the backend's dialect sees in a request."""
    return load_backend(backend, options=options).recognise(request)


def message(**ids: str) -> dict[str, Any]:
    """A message of A2A 1.0."""
    return {"messageId": "m", **ids, "role": "ROLE_USER", "parts": [{"text": "yes"}]}


def rpc(method: str, message: Any, **params: Any) -> dict[str, Any]:
    """A call by JSON-RPC."""
    return {"jsonrpc": "2.0", "id": "9", "method": method, "params": {"message": message, **params}}


def tool(call: str = "call_1", **fields: Any) -> dict[str, Any]:
    """A tool of AgentOS, as its client sends it back."""
    return {"tool_call_id": call, "tool_name": "danger", "requires_confirmation": True, "confirmed": True, **fields}


def form(**fields: Any) -> str:
    """A form, URL-encoded; values that are no text are JSON texts."""
    return urlencode({name: item if isinstance(item, str) else json.dumps(item) for name, item in fields.items()})


def function(call: str = "adk-1", **fields: Any) -> dict[str, Any]:
    """A part with the response of a function."""
    return {"functionResponse": {"id": call, "name": "question", "response": {"result": "yes"}, **fields}}


def adk(*parts: Any, **fields: Any) -> dict[str, Any]:
    """A request to run an agent of ADK."""
    run = {"appName": "app", "userId": "u", "sessionId": T, "newMessage": {"role": "user", "parts": list(parts)}}
    return {**run, **fields}


def ag_ui(**fields: Any) -> dict[str, Any]:
    """A run of AG-UI."""
    run = {"threadId": T, "runId": "r", "state": {}, "messages": [], "tools": [], "context": [], "forwardedProps": {}}
    return {**run, **fields}


def entry(interrupt_id: str, payload: Any = "yes") -> dict[str, Any]:
    """An entry of AG-UI's `resume`."""
    return {"interruptId": interrupt_id, "status": "resolved", "payload": payload}


def acp(mode: str = "sync", **part: Any) -> dict[str, Any]:
    """A resume of ACP."""
    part = {"name": None, "content_type": "text/plain", "content": "yes", **part}
    return {"await_resume": {"type": "message", "message": {"role": "user", "parts": [part]}}, "mode": mode}


def respond(**params: Any) -> ClientRequest:
    """A command of LangGraph's v2 protocol that answers."""
    return client(f"POST /threads/{T}/commands", {"id": 7, "method": "input.respond", "params": params})


WORKFLOW, AGENT, CONTINUE = "POST /api/workflows/two", "POST /api/agents/helper", f"/helper/runs/{R}/continue"
A2A_ROUTE, TEXT = "POST /a2a/45d802a2", {"kind": "text", "text": "yes"}
MULTIPART_FORM = (
    b'--b\r\nContent-Disposition: form-data; name="report"; filename="x.bin"\r\nContent-Type: x/y\r\n\r\n\0\1\r\n'
    b'--b\r\ncontent-disposition: form-data; name="tools"\r\n\r\n[{"tool_call_id": "call_1", '
    b'"external_execution_required": true, "result": "42"}]\r\n'
    b'--b\r\nContent-Disposition: form-data; name="session_id"\r\n\r\n' + T.encode() + b"\r\n--b--\r\n"
)
EXECUTED = {"tool_call_id": "call_1", "external_execution_required": True, "result": "42"}
CONFIG = {"config": {"configurable": {"user_id": "u"}}, "agent_id": "app"}

ANSWERS: dict[str, tuple[str, ClientRequest, str | None, str | None, Mode, dict[str, Any]]] = {
    # name: backend, request, thread, run, mode, fields of the draft
    "langgraph-sdk, runs.create": (
        "langgraph", client(f"POST /threads/{T}/runs", {"command": {"resume": None, "goto": "x"}, "assistant_id": "a"}),
        T, None, BACKGROUND, {"input": None},
    ),
    "langgraph-sdk, runs.wait": (
        "aegra", client(f"POST /threads/{T}/runs/wait", {"command": {"resume": {HEX: 1}}, "input": {"a": 1}}),
        T, None, WAIT, {"input": {HEX: 1}},
    ),
    "langgraph-sdk, runs.stream from a checkpoint": (
        "langgraph",
        client(f"POST /threads/{T}/runs/stream", {
            "command": {"resume": False}, "checkpoint": {"checkpoint_ns": ""}, "checkpoint_id": "c",
            "config": {"configurable": {"x": 1}}}),
        T, None, STREAM,
        {"input": False, "config": {"configurable": {"x": 1, "checkpoint_ns": "", "checkpoint_id": "c"}}},
    ),
    "langgraph-sdk, respond": (
        "langgraph", respond(interrupt_id=HEX, response="yes", namespace=[]),
        T, None, BACKGROUND, {"input": "yes", "interrupt_id": HEX},
    ),
    "langgraph-sdk, respondAll": (
        "langgraph",
        respond(responses=[{"interrupt_id": HEX, "response": 1}, {"interrupt_id": HEX[::-1], "response": 2}]),
        T, None, BACKGROUND, {"input": {HEX: 1, HEX[::-1]: 2}},
    ),
    "langgraph-sdk, respondAll with an id that none can have": (
        "langgraph", respond(responses=[{"interrupt_id": HEX, "response": 1}, {"interrupt_id": "q", "response": 2}]),
        T, None, BACKGROUND, {"input": 2, "interrupt_id": "q"},
    ),
    "langgraph-sdk, respondAll with one": (
        "langgraph", respond(responses=[{"interrupt_id": HEX, "response": 1}]),
        T, None, BACKGROUND, {"input": 1, "interrupt_id": HEX},
    ),
    "langgraph-sdk, respond in a WebSocket": (
        "langgraph",
        client(f"GET /threads/{T}/stream/events", {"id": 7, "method": "input.respond", "params": {
            "namespace": [], "interrupt_id": HEX, "response": "yes"}}),
        T, None, BACKGROUND, {"input": "yes", "interrupt_id": HEX},
    ),
    "Aegra, a response without an id": (
        "aegra", respond(interruptId=HEX, response="yes"), T, None, BACKGROUND, {"input": "yes"},
    ),
    "langgraph, a response without parameters": (
        "langgraph", client(f"POST /threads/{T}/commands", {"id": 1, "method": "input.respond"}),
        T, None, BACKGROUND, {"input": None},
    ),
    "a2a-sdk, JSON-RPC 1.0": (
        "a2a",
        client("POST /a2a", rpc("SendMessage", message(contextId=T, taskId=TASK), configuration={})),
        T, TASK, WAIT, {"input": "yes"},
    ),
    "a2a-sdk, JSON-RPC 1.0 stream, at the root": (
        "a2a", client("POST /", rpc("SendStreamingMessage", message(contextId=T, taskId=TASK))),
        T, TASK, STREAM, {"input": "yes"},
    ),
    "a2a-sdk, REST": (
        "a2a", client("POST /a2a/message:send", {"message": message(contextId=T, taskId=TASK), "configuration": {}}),
        T, TASK, WAIT, {"input": "yes"},
    ),
    "a2a-sdk, REST stream, below a tenant": (
        "a2a", client("POST /a2a/acme/message:stream", {"message": message(contextId=T, taskId=TASK)}),
        T, TASK, STREAM, {"input": "yes"},
    ),
    "a2a, with the task alone": (
        "a2a", client("POST /a2a/message:send", {"message": message(taskId=TASK)}), None, TASK, WAIT, {"input": "yes"},
    ),
    "a2a, in the background": (
        "a2a",
        client("POST /message:send", {"message": message(taskId=TASK), "configuration": {"returnImmediately": True}}),
        None, TASK, BACKGROUND, {"input": "yes"},
    ),
    "a2a-sdk, JSON-RPC 0.3": (
        "a2a",
        client("POST /", rpc("message/send", {**message(contextId=T, taskId=TASK), "parts": [
            {"kind": "data", "data": {"ok": True}}]}, configuration={"blocking": True})),
        T, TASK, WAIT, {"input": {"ok": True}},
    ),
    "a2a, JSON-RPC 0.3 stream": (
        "a2a", client("POST /", rpc("message/stream", message(contextId=T, taskId=TASK), configuration=None)),
        T, TASK, STREAM, {"input": "yes"},
    ),
    "a2a, JSON-RPC 0.3 without blocking": (
        "a2a",
        client("POST /", rpc("message/send", message(contextId=T, taskId=TASK), configuration={"blocking": False})),
        T, TASK, BACKGROUND, {"input": "yes"},
    ),
    "a2a, snake_case": (
        "a2a",
        client("POST /a2a", rpc("SendMessage", {"task_id": TASK, "context_id": T, "parts": [{"text": "a"}, {"raw": 1}]},
        configuration={"return_immediately": True})),
        T, TASK, BACKGROUND, {"input": [{"text": "a"}, {"raw": 1}]},
    ),
    "langgraph's A2A route, data": (
        "langgraph",
        client(A2A_ROUTE, rpc("message/send", {"parts": [{"kind": "data", "data": {"resume": False}}],
                                               "contextId": T, "taskId": f"{T}:1"})),
        T, None, WAIT, {"input": False},
    ),
    "langgraph's A2A route, command": (
        "langgraph",
        client(A2A_ROUTE, rpc("message/stream", {"parts": [TEXT], "command": {"resume": 1}, "contextId": T})),
        T, None, STREAM, {"input": 1},
    ),
    "AgentOSClient": (
        "agno", client(f"POST /agents{CONTINUE}", form(tools=[tool()], stream="false", session_id=T), FORM),
        T, R, WAIT, {"agent_id": "helper", "input": {"call_1": True}},
    ),
    "AgentOSClient, stream": (
        "agno",
        client(f"POST /agents{CONTINUE}", form(
            session_id=T, stream="t", tools=[tool(), tool("c2", confirmed=False)]), FORM),
        T, R, STREAM, {"agent_id": "helper", "input": {"call_1": True, "c2": False}},
    ),
    "AgentOS in a browser": (
        "agno", client(f"POST /agents{CONTINUE}", MULTIPART_FORM, MULTIPART),
        T, R, STREAM, {"agent_id": "helper", "input": {"call_1": EXECUTED}},
    ),
    "AgentOS, a tool that has no answer": (
        "agno",
        client(f"POST /agents{CONTINUE}", form(tools=[tool(confirmed=None), {"tool_name": "x"}], session_id=T,
                                               stream="0", background="1"), FORM),
        T, R, BACKGROUND, {"agent_id": "helper"},
    ),
    "AgentOS, no tools": (
        "agno", client(f"POST /agents{CONTINUE}", form(tools="", session_id=T), FORM),
        T, R, STREAM, {"agent_id": "helper"},
    ),
    "AgentOS, tools that are none": (
        "agno", client(f"POST /agents{CONTINUE}", form(tools="{", requirements="3", session_id=T), FORM),
        T, R, STREAM, {"agent_id": "helper"},
    ),
    "AgentOS, a team": (
        "agno",
        client(f"POST /teams{CONTINUE}", form(requirements=[
            {"id": "q1", "tool_execution": tool(confirmed=None), "confirmation": False}], session_id=T), FORM),
        T, R, STREAM, {"agent_id": "helper", "input": {"q1": False}},
    ),
    "AgentOS, a workflow's step": (
        "agno",
        client(f"POST /workflows{CONTINUE}", form(step_requirements=[
            {"step_id": "s1", "confirmed": True}, {"step_id": "s2", "confirmed": True, "retry_count": 1}],
            session_id=T), FORM),
        T, R, STREAM, {"agent_id": "helper", "input": {"s2:2.1": True}},
    ),
    "AgentOS, an agent in a workflow": (
        "agno",
        client(f"POST /workflows{CONTINUE}", form(step_requirements=[
            {"step_id": "s1", "requires_executor_input": True,
             "executor_requirements": [{"id": "q1", "tool_execution": tool()}]}], session_id=T), FORM),
        T, R, STREAM, {"agent_id": "helper", "input": {"q1": True}},
    ),
    "ADK, camelCase": (
        "adk", client("POST /run", adk(function())), T, None, WAIT, {**CONFIG, "input": {"adk-1": "yes"}},
    ),
    "ADK, several, with text": (
        "adk",
        client("POST /run_sse", adk({"text": "so"}, function(), function("adk-2", response={"a": 1, "result": 2}))),
        T, None, STREAM, {**CONFIG, "input": {"adk-1": "yes", "adk-2": {"a": 1, "result": 2}}},
    ),
    "ADK, snake_case": (
        "adk",
        client("POST /run", {"app_name": "app", "user_id": "u", "session_id": T, "new_message": {"parts": [
            {"function_response": {"id": "adk-1", "response": {"confirmed": True}}}]}}),
        T, None, WAIT, {**CONFIG, "input": {"adk-1": {"confirmed": True}}},
    ),
    "@mastra/client-js, resumeAsync": (
        "mastra", client(f"{WORKFLOW}/resume-async?runId={R}", {"resumeData": {"approved": True}}),
        R, None, WAIT, {"agent_id": "two", "input": {"approved": True}},
    ),
    "@mastra/client-js, resume": (
        "mastra", client(f"{WORKFLOW}/resume?runId=x&runId={R}", {"resumeData": 1, "step": "first"}),
        R, None, BACKGROUND, {"agent_id": "two", "input": 1},
    ),
    "@mastra/client-js, resumeNoWait": (
        "mastra", client(f"{WORKFLOW}/resume-no-wait?runId={R}", {}),
        R, None, BACKGROUND, {"agent_id": "two", "input": None},
    ),
    "@mastra/client-js, resumeStream": (
        "mastra", client(f"{WORKFLOW}/resume-stream?runId={R}", {"resumeData": 1}),
        R, None, STREAM, {"agent_id": "two", "input": 1},
    ),
    "@mastra/client-js, approveToolCall": (
        "mastra-agent", client(f"{AGENT}/approve-tool-call", {"runId": R, "toolCallId": "c"}),
        None, R, STREAM, {"agent_id": "helper", "input": True},
    ),
    "@mastra/client-js, declineToolCallGenerate": (
        "mastra-agent", client(f"{AGENT}/decline-tool-call-generate", {"runId": R, "toolCallId": "c"}),
        None, R, WAIT, {"agent_id": "helper", "input": False},
    ),
    "@mastra/client-js, resumeStream of an agent": (
        "mastra-agent",
        client(f"{AGENT}/resume-stream", {"runId": R, "toolCallId": "c", "memory": {"thread": T, "resource": "r"},
                                          "resumeData": {"approved": True}}),
        T, R, STREAM, {"agent_id": "helper", "input": True},
    ),
    "@mastra/client-js, sendToolApproval": (
        "mastra-agent",
        client(f"{AGENT}/send-tool-approval", {"threadId": T, "resourceId": "r", "toolCallId": "c", "approved": False}),
        T, None, BACKGROUND, {"agent_id": "helper", "input": False},
    ),
    "Mastra, a thread as an object": (
        "mastra-agent",
        client(f"{AGENT}/resume-stream-until-idle", {"runId": R, "memory": {"thread": {"id": T}}, "resumeData": None}),
        T, R, STREAM, {"agent_id": "helper", "input": None},
    ),
    "acp-sdk": ("acp", client(f"POST /runs/{R}", acp("sync")), None, R, WAIT, {"input": "yes"}),
    "acp-sdk, async": ("acp", client(f"POST /runs/{R}", acp("async"), ""), None, R, BACKGROUND, {"input": "yes"}),
    "acp-sdk, stream": ("acp", client(f"POST /runs/{R}", acp("stream")), None, R, STREAM, {"input": "yes"}),
    "ACP, an answer of no known form": (
        "acp", client(f"POST /runs/{R}", {"await_resume": 3}), None, R, WAIT, {"input": 3},
    ),
    "@ag-ui/client": (
        "ag-ui", client("POST /agent", ag_ui(resume=[entry("q1")])), T, None, STREAM, {"input": {"q1": "yes"}},
    ),
    "@ag-ui/client, several": (
        "ag-ui", client("POST /", ag_ui(resume=[entry("q1"), {"interruptId": "q2", "status": "cancelled"}])),
        T, None, STREAM, {"input": {"q1": "yes", "q2": None}},
    ),
    "AG-UI, LangGraph's older form": (
        "ag-ui", client("POST /", ag_ui(forwardedProps={"command": {"resume": "yes"}})),
        T, None, STREAM, {"input": "yes"},
    ),
    "AG-UI, snake_case": (
        "ag-ui",
        client("POST /", {"thread_id": T, "messages": [], "forwarded_props": {"command": {"resume": {HEX: 1}}}}),
        T, None, STREAM, {"input": {HEX: 1}},
    ),
    "agentseek": (
        "agentseek", client(f"POST /threads/{T}/runs/{R}/resume", {"resume": "yes"}),
        T, R, BACKGROUND, {"input": "yes"},
    ),
    "agentseek, langgraph-sdk": (
        "agentseek", client(f"POST /threads/{T}/runs/wait", {"assistant_id": "a", "command": {"resume": "yes"}}),
        T, None, WAIT, {"input": "yes"},
    ),
    "agentseek, langgraph-sdk's commands": (
        "agentseek",
        client(f"POST /threads/{T}/commands", {"id": 1, "method": "input.respond", "params": {
            "namespace": [], "interrupt_id": HEX, "response": "yes"}}),
        T, None, BACKGROUND, {"input": "yes", "interrupt_id": HEX},
    ),
    "agntcy-acp": (
        "agntcy", client(f"POST /runs/{R}", {"approved": True}), None, R, BACKGROUND, {"input": {"approved": True}},
    ),
}  # fmt: skip

IF_INTERRUPTED: dict[str, tuple[str, ClientRequest, Any]] = {
    # name: backend, request, answer
    "langgraph-sdk, run.start": (
        "langgraph",
        client(f"POST /threads/{T}/commands", {"id": 1, "method": "run.start", "params": {"input": {"topic": "x"}}}),
        {"topic": "x"},
    ),
    "langgraph-sdk, run.start in a WebSocket": (
        "langgraph",
        client(f"GET /threads/{T}/stream/events", {"id": 1, "method": "run.start", "params": {"input": "yes"}}),
        "yes",
    ),
    "llama-agents-client": (
        "llamaindex", client(f"POST /events/{T}", {"event": {"type": "Answer", "value": {"response": "yes"}}}),
        {"response": "yes"},
    ),
    "LlamaIndex, an event as text": (
        "llamaindex", client(f"POST /events/{T}", {"event": '{"qualified_name": "app.Answer", "value": {}}'}), {},
    ),
    "langgraph's A2A route, text": (
        "langgraph",
        client(A2A_ROUTE, rpc("message/send", {"parts": [TEXT, {"kind": "data", "data": {}}, TEXT], "contextId": T,
                                               "taskId": "x"})),
        "yes\nyes",
    ),
}  # fmt: skip

NO_ANSWERS: dict[str, tuple[str, ClientRequest]] = {
    # name: backend, request
    "langgraph, another command": (
        "langgraph",
        client(f"POST /threads/{T}/commands", {"id": 1, "method": "x"}),
    ),
    "langgraph, another command in a WebSocket": (
        "langgraph",
        client(f"GET /threads/{T}/stream/events", {"id": 1, "method": "subscription.subscribe"}),
    ),
    "langgraph, a command in a WebSocket without a number": (
        "langgraph",
        client(f"GET /threads/{T}/stream/events", {"id": "1", "method": "input.respond"}),
    ),
    "langgraph, no command in a WebSocket": ("langgraph", client(f"GET /threads/{T}/stream/events", "{")),
    "langgraph, a stream of events": (
        "langgraph",
        client(f"POST /threads/{T}/stream/events", {"id": 1, "method": "input.respond"}),
    ),
    "langgraph, a cron that starts runs": ("langgraph", client(f"POST /threads/{T}/runs/crons", {"input": {}})),
    "a2a, a new task in a context": ("a2a", client("POST /a2a", rpc("SendMessage", message(contextId=T)))),
    "a2a, an empty task": ("a2a", client("POST /message:send", {"message": message(contextId=T, taskId="")})),
    "a2a, another method": ("a2a", client("POST /", rpc("tasks/get", message(taskId=TASK)))),
    "a2a, a batch": ("a2a", client("POST /", [rpc("SendMessage", message(taskId=TASK))])),
    "a2a, no message": ("a2a", client("POST /", rpc("SendMessage", None))),
    "a2a, no message by REST": ("a2a", client("POST /message:send", {})),
    "a2a, no parameters": ("a2a", client("POST /", {"method": "SendMessage"})),
    "a2a, GET": ("a2a", client("GET /message:send", {"message": message(taskId=TASK)})),
    "a2a, cancel": ("a2a", client("POST /tasks/1:cancel", {})),
    "langgraph's A2A route, no parts": (
        "langgraph",
        client(A2A_ROUTE, rpc("message/send", {"contextId": T, "taskId": "x"})),
    ),
    "langgraph's A2A route, null": (
        "langgraph",
        client(A2A_ROUTE, rpc("message/send", {"parts": [{"data": {"resume": None}}], "contextId": T, "taskId": "x"})),
    ),
    "langgraph's A2A route, no task": ("langgraph", client(A2A_ROUTE, rpc("message/send", {"contextId": T}))),
    "langgraph's A2A route, no context": ("langgraph", client(A2A_ROUTE, rpc("message/send", {"taskId": TASK}))),
    "langgraph, goto alone": ("langgraph", client(f"POST /threads/{T}/runs", {"command": {"goto": "__end__"}})),
    "langgraph, input null": ("langgraph", client(f"POST /threads/{T}/runs/wait", {"input": None})),
    "langgraph, a new turn": ("langgraph", client(f"POST /threads/{T}/runs", {"input": {"a": 1}, "command": None})),
    "langgraph, without a thread": ("langgraph", client("POST /runs/wait", {"command": {"resume": 1}})),
    "langgraph, run.start without input": (
        "langgraph",
        client(f"POST /threads/{T}/commands", {"id": 1, "method": "run.start", "params": {"command": {"resume": 1}}}),
    ),
    "agno, no session": ("agno", client(f"POST /agents{CONTINUE}", form(tools=[tool()]), FORM)),
    "agno, JSON": ("agno", client(f"POST /agents{CONTINUE}", {"tools": [tool()], "session_id": T})),
    "agno, no boundary": ("agno", client(f"POST /agents{CONTINUE}", MULTIPART_FORM, "multipart/form-data")),
    "agno, a new run": ("agno", client("POST /agents/helper/runs", form(message="hi", session_id=T), FORM)),
    "adk, a new turn": ("adk", client("POST /run", adk({"text": "never mind"}))),
    "adk, no message": ("adk", client("POST /run_sse", {"appName": "app", "sessionId": T, "invocationId": "e-1"})),
    "adk, no parts": ("adk", client("POST /run", adk(newMessage={"parts": None}))),
    "adk, no session": ("adk", client("POST /run", adk(function(), sessionId=None))),
    "mastra, no run": ("mastra", client(f"{WORKFLOW}/resume-async", {"resumeData": 1})),
    "mastra, a new run": ("mastra", client(f"{WORKFLOW}/start-async?runId={R}", {"inputData": 1})),
    "mastra, neither run nor thread": ("mastra-agent", client(f"{AGENT}/approve-tool-call", {"toolCallId": "c"})),
    "mastra, a network's approval": ("mastra-agent", client(f"{AGENT}/approve-network-tool-call", {"runId": R})),
    "llamaindex, an event without a class": ("llamaindex", client(f"POST /events/{T}", {"event": {"value": {}}})),
    "llamaindex, an event that is none": ("llamaindex", client(f"POST /events/{T}", {"event": "{"})),
    "llamaindex, text for an event": ("llamaindex", client(f"POST /events/{T}", {"event": "3"})),
    "acp, nothing to resume with": ("acp", client(f"POST /runs/{R}", {"mode": "sync"})),
    "acp, a new run": ("acp", client("POST /runs", {"agent_name": "a", "input": []})),
    "ag-ui, a new turn": ("ag-ui", client("POST /", ag_ui())),
    "ag-ui, no entries": ("ag-ui", client("POST /", ag_ui(resume=[], forwardedProps={"command": {"goto": "x"}}))),
    "ag-ui, no messages": ("ag-ui", client("POST /", ag_ui(resume=[entry("q1")], messages=None))),
    "ag-ui, no thread": ("ag-ui", client("POST /", ag_ui(resume=[entry("q1")], threadId=None))),
    "agentseek, run.start starts anew": (
        "agentseek",
        client(f"POST /threads/{T}/commands", {"id": 1, "method": "run.start", "params": {"input": "yes"}}),
    ),
    "agntcy, a search": ("agntcy", client("POST /runs/search", {"thread_id": T})),
    "agntcy, a new run": ("agntcy", client("POST /runs/wait", {"agent_id": "a", "input": {}})),
}
