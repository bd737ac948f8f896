"""Requests of today's clients: which of them answer, what a refusal says, and what a response means."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote_plus

import pytest

from ap_resume_shim.backends.mastra.workflow import Mastra
from ap_resume_shim.core.errors import (
    GuardUnavailable,
    InterruptNotPending,
    RequestTooLarge,
    ResumeError,
    ThreadNotFound,
    ThreadNotInterrupted,
    UnsupportedInput,
    UpstreamRefused,
)
from ap_resume_shim.core.http import Response
from ap_resume_shim.core.sse import Decoder
from ap_resume_shim.core.vendor_resume import ClientRequest, UnreadableAnswer
from tests.backends.vendor_requests import (
    ANSWERS,
    CONTINUE,
    FORM,
    IF_INTERRUPTED,
    JSON,
    NO_ANSWERS,
    TASK,
    WORKFLOW,
    R,
    T,
    acp,
    ag_ui,
    client,
    entry,
    form,
    message,
    recognised,
    tool,
)

STEP = {"step_id": "s", "requires_executor_input": True, "executor_requirements": "x"}


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_is_recognised(name: str) -> None:
    backend, request, thread, run, mode, fields = ANSWERS[name]
    vendor = recognised(backend, request)
    assert vendor is not None
    assert (vendor.thread_id, vendor.run_id, vendor.mode, vendor.when) == (thread, run, mode, "always")
    assert dict(vendor.fields) == fields


@pytest.mark.parametrize("odd", [b"1e999", b"9" * 5000, b'"\xff"'])
def test_an_answer_beside_a_value_that_only_some_servers_read_is_recognised(odd: bytes) -> None:
    body = json.dumps({"assistant_id": "a", "command": {"resume": "yes"}, "metadata": "?"}).encode()
    vendor = recognised("langgraph", client(f"POST /threads/{T}/runs", body.replace(b'"?"', odd)))
    assert vendor is not None
    assert vendor.fields["input"] == "yes"


@pytest.mark.parametrize("levels", [201, 100_000])
def test_an_answer_that_is_nested_too_deep_is_unreadable(levels: int) -> None:
    nested = b'{"command": {"resume": ' + b"[" * levels + b"]" * levels + b"}}"
    with pytest.raises(UnreadableAnswer, match="nested too deep"):
        recognised("langgraph", client(f"POST /threads/{T}/runs", nested))


@pytest.mark.parametrize(
    ("backend", "request_"),
    [
        ("ag-ui", client("POST /", ag_ui(resume=["yes"]))),
        ("ag-ui", client("POST /", ag_ui(resume=[None], forwardedProps=["x"]))),
        ("agno", client(f"POST /teams{CONTINUE}", form(session_id=T, requirements=[{"tool_execution": "x"}]), FORM)),
        ("agno", client(f"POST /workflows{CONTINUE}", form(session_id=T, step_requirements=[STEP]), FORM)),
    ],
)
def test_an_answer_of_an_unexpected_shape_is_unreadable(backend: str, request_: ClientRequest) -> None:
    with pytest.raises(UnreadableAnswer, match="unexpected type"):
        recognised(backend, request_)


@pytest.mark.parametrize("name", IF_INTERRUPTED)
def test_an_answer_to_a_thread_that_asks_is_recognised(name: str) -> None:
    backend, request, answer = IF_INTERRUPTED[name]
    vendor = recognised(backend, request)
    assert vendor is not None
    assert (vendor.thread_id, vendor.when, vendor.fields) == (T, "if_interrupted", {"input": answer})


@pytest.mark.parametrize("name", NO_ANSWERS)
def test_what_is_no_answer_is_not_recognised(name: str) -> None:
    assert recognised(*NO_ANSWERS[name]) is None


def test_a_cron_that_answers_is_one_to_refuse() -> None:
    cron = client(f"POST /threads/{T}/runs/crons", {"schedule": "* * * * *", "command": {"resume": "yes"}})
    vendor = recognised("langgraph", cron)
    assert vendor is not None
    assert isinstance(vendor.refused, UnsupportedInput)


def test_the_run_of_acp_is_its_thread_where_the_option_says_so() -> None:
    vendor = recognised("acp", client(f"POST /runs/{R}", acp()), thread="run")
    assert vendor is not None
    assert vendor.thread_id == R


def test_only_the_endpoint_of_the_option_is_one_of_ag_ui() -> None:
    answer = client("POST /other", ag_ui(resume=[entry("q1")]))
    assert recognised("ag-ui", answer, path="/agent") is None
    assert recognised("ag-ui", answer, path="/other") is not None


def test_the_prefix_of_mastra_is_that_of_the_option() -> None:
    answer = client(f"POST /v1/workflows/two/resume?runId={R}", {"resumeData": 1})
    assert recognised("mastra", answer) is None
    assert recognised("mastra", answer, prefix="v1") is not None


# --- what servers read, too ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("backend", "request_"),
    [
        ("langgraph", client(f"POST /threads/{T}/runs/%77ait", {"command": {"resume": "yes"}})),
        ("langgraph", client(f"POST /threads/{T}/runs", '{"command": {"resume": "no"}, "command": {"resume": "yes"}}')),
        ("langgraph", client(f"POST /threads/{T}/runs", {"command": {"resume": "yes"}}, "text/plain")),
        ("aegra", client(f"POST /threads/{T}/runs", b'\xef\xbb\xbf{"command": {"resume": "yes"}}')),
        ("a2a", client("POST /a2a/message%3Asend", {"message": message(taskId=TASK)}, "text/plain")),
        ("run-resume", client(f"POST /threads/{T}/runs/{R}/%72esume", {"resume": "yes"})),
    ],
)
def test_what_servers_read_is_recognised(backend: str, request_: ClientRequest) -> None:
    vendor = recognised(backend, request_)
    assert vendor is not None
    assert vendor.fields["input"] == "yes"


@pytest.mark.parametrize(
    "body",
    [
        f"stream=false&tools={quote_plus(json.dumps([tool(confirmed=False)]))}&session_id=other&session_id={T}",
        f"session_id={T}&unknown=%FF&stream=false&tools=%5B%5D&tools={quote_plus(json.dumps([tool(confirmed=False)]))}",
    ],
)
def test_the_last_of_several_fields_of_a_form_counts_in_any_order(body: str) -> None:
    vendor = recognised("agno", client(f"POST /agents{CONTINUE}", body, f"{FORM}; charset=utf-8"))
    assert vendor is not None
    assert (vendor.thread_id, vendor.fields["input"]) == (T, {"call_1": False})


# --- refusals -----------------------------------------------------------------------------------------------------

NOT_ASKING = ThreadNotInterrupted("Nothing is asked.")
AWAY = GuardUnavailable("The store is away.")
UNKNOWN = ThreadNotFound("No such thread.")


def refusal(name: str, error: ResumeError) -> tuple[int, Any]:
    """The status and the body with which a request is refused."""
    vendor = recognised(*ANSWERS[name][:2])
    assert vendor is not None
    reply = vendor.convention.refusal(vendor, error)
    assert reply.headers == (() if error.http_status >= 500 and reply.status == 409 else error.headers)
    return reply.status, reply.value


@pytest.mark.parametrize(
    ("error", "code"),
    [(NOT_ASKING, -32004), (UNKNOWN, -32001), (UnsupportedInput("Nothing is asked."), -32602), (AWAY, -32004)],
)
@pytest.mark.parametrize("name", ["a2a-sdk, JSON-RPC 1.0", "langgraph's A2A route, data"])
def test_json_rpc_refuses_with_an_error_in_a_200(name: str, error: ResumeError, code: int) -> None:
    value = {"jsonrpc": "2.0", "id": "9", "error": {"code": code, "message": error.message}}
    assert refusal(name, error) == (200, value)


@pytest.mark.parametrize("name", ["a2a-sdk, JSON-RPC 1.0 stream, at the root", "a2a, JSON-RPC 0.3 stream"])
def test_json_rpc_refuses_a_stream_with_an_error_as_its_only_event(name: str) -> None:
    vendor = recognised(*ANSWERS[name][:2])
    assert vendor is not None
    reply = vendor.convention.refusal(vendor, NOT_ASKING)
    assert (reply.status, reply.media_type) == (200, "text/event-stream")
    (event,) = Decoder().feed(reply.body)
    assert event.json["error"] == {"code": -32004, "message": "Nothing is asked."}


def test_json_rpc_keeps_the_status_of_refused_credentials_and_of_a_large_body() -> None:
    name = "a2a-sdk, JSON-RPC 1.0"
    assert refusal(name, UpstreamRefused(401, "Log in.", (("www-authenticate", "Bearer"),)))[0] == 401
    assert refusal(name, RequestTooLarge("Too large."))[0] == 413


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (NOT_ASKING, 409, "UNSUPPORTED_OPERATION"),
        (UNKNOWN, 404, "TASK_NOT_FOUND"),
        (AWAY, 409, "UNSUPPORTED_OPERATION"),
    ],
)
def test_rest_of_a2a_refuses_with_a_reason_that_clients_know(error: ResumeError, status: int, reason: str) -> None:
    got, value = refusal("a2a-sdk, REST", error)
    assert (got, value["error"]["code"], value["error"]["message"]) == (status, status, error.message)
    assert [detail["reason"] for detail in value["error"]["details"]] == [reason]


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [(NOT_ASKING, 409, "invalid_input"), (UNKNOWN, 404, "not_found"), (AWAY, 409, "server_error")],
)
def test_acp_refuses_with_one_of_its_three_codes(error: ResumeError, status: int, code: str) -> None:
    assert refusal("acp-sdk", error) == (status, {"code": code, "message": error.message})


@pytest.mark.parametrize("name", ["@mastra/client-js, resume", "@mastra/client-js, approveToolCall"])
@pytest.mark.parametrize(("error", "status"), [(NOT_ASKING, 409), (UNKNOWN, 404), (AWAY, 409)])
def test_mastra_refuses_with_its_error_and_never_with_5xx(name: str, error: ResumeError, status: int) -> None:
    got, value = refusal(name, error)
    assert (got, value["error"]) == (status, error.message)


@pytest.mark.parametrize("name", ["AgentOSClient", "ADK, camelCase", "@ag-ui/client", "agentseek"])
@pytest.mark.parametrize(("error", "status"), [(NOT_ASKING, 409), (AWAY, 409), (InterruptNotPending("No.", ()), 409)])
def test_others_refuse_with_409_and_the_message_where_clients_look(name: str, error: ResumeError, status: int) -> None:
    got, value = refusal(name, error)
    assert (got, value["detail"], value["message"]) == (status, error.message, error.message)


@pytest.mark.parametrize("name", ["langgraph-sdk, respond", "langgraph-sdk, respond in a WebSocket"])
@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UNKNOWN, "no_such_run"),
        (NOT_ASKING, "no_such_interrupt"),
        (UnsupportedInput("No."), "invalid_argument"),
        (AWAY, "unknown_error"),
    ],
)
def test_langgraph_refuses_a_command_with_an_error_in_a_200(name: str, error: ResumeError, code: str) -> None:
    vendor = recognised(*ANSWERS[name][:2])
    assert vendor is not None
    reply = vendor.convention.refusal(vendor, error)
    assert reply.status == 200
    assert reply.value == {"type": "error", "id": 7, "error": code, "message": error.message}
    assert took(name, {"type": "success"}, None) is True
    assert took(name, reply.value, None) is False


@pytest.mark.parametrize(
    ("message", "replies"),
    [
        (b'{"type": "success", "id": 7, "result": {}}', True),
        (b'{"type": "error", "id": 7, "error": "no_such_run"}', True),
        (b'{"type": "success", "id": 8, "result": {}}', False),
        (b'{"type": "error", "id": null}', False),
        (b'{"type": "event", "id": 7}', False),
        (b"[7]", False),
        (b"7", False),
        (b"{", False),
    ],
)
def test_the_response_in_a_websocket_has_the_id_of_the_command(message: bytes, replies: bool) -> None:
    vendor = recognised(*ANSWERS["langgraph-sdk, respond in a WebSocket"][:2])
    assert vendor is not None
    assert vendor.convention.websocket
    assert vendor.convention.is_reply(vendor, message) is replies


def test_agentseek_refuses_a_command_with_the_error_of_its_protocol() -> None:
    status, value = refusal("agentseek, langgraph-sdk's commands", NOT_ASKING)
    assert status == 200
    assert value == {"type": "error", "id": 1, "error": "no_such_interrupt", "message": "Nothing is asked."}


# --- what a response says -----------------------------------------------------------------------------------------


def took(name: str, value: Any, length: str | None = "99", media_type: str = JSON) -> bool | None:
    """Whether a 200 means that the backend took the answer; None if its body is not read."""
    vendor = recognised(*ANSWERS[name][:2])
    assert vendor is not None
    headers = (("content-type", media_type), *((("content-length", length),) if length else ()))
    response = Response(200, headers, json.dumps(value).encode())
    return vendor.convention.took(vendor, response) if vendor.convention.reads_body(vendor, response) else None


@pytest.mark.parametrize("name", ["a2a-sdk, JSON-RPC 1.0 stream, at the root", "langgraph's A2A route, data"])
def test_an_error_of_json_rpc_is_a_refusal_unless_the_agent_failed(name: str) -> None:
    assert took(name, {"result": {}}) is True
    assert took(name, {"error": {"code": -32004, "message": "terminal"}}) is False
    assert took(name, {"error": {"code": -32603, "message": "The agent failed."}}) is True


@pytest.mark.parametrize(("length", "media_type"), [(None, JSON), ("65537", JSON), ("99", "text/event-stream")])
def test_a_long_response_and_a_stream_are_not_read_first(length: str | None, media_type: str) -> None:
    assert took("a2a-sdk, JSON-RPC 1.0", {"result": {}}, length, media_type) is None


def test_other_responses_are_passed_on_as_they_come() -> None:
    assert took("acp-sdk", {}) is None
    vendor = recognised(*ANSWERS["acp-sdk"][:2])
    assert vendor is not None
    assert vendor.convention.took(vendor, Response(200))


@pytest.mark.parametrize(
    ("fields", "in_response"),
    [
        ({"stream": "true"}, True),
        ({"stream": "true", "background": "false"}, True),
        ({"stream": "true", "background": "true"}, False),
        ({"stream": "false"}, False),
    ],
)
def test_a_run_of_agno_looks_paused_while_it_is_streamed(fields: dict[str, str], in_response: bool) -> None:
    request = client(f"POST /agents{CONTINUE}", form(tools=[tool()], session_id=T, **fields), FORM)
    vendor = recognised("agno", request)
    assert vendor is not None
    assert vendor.convention.runs_in_response(vendor) is in_response


def test_mastra_commits_after_its_response_to_operations_that_do_not_wait() -> None:
    (convention,) = Mastra().conventions
    late = {
        name
        for name in ("resume", "resume-no-wait", "resume-async", "resume-stream")
        if (vendor := convention.read(client(f"{WORKFLOW}/{name}?runId={R}", {"resumeData": 1})))
        and convention.commits_late(vendor)
    }
    assert late == {"resume", "resume-no-wait"}
