"""Lists of threads that may wait, with responses in the form of recordings: what is searched, read and judged."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any

import pytest

from ap_resume_shim.backends import backend_names, load_backend
from ap_resume_shim.core import strictjson
from ap_resume_shim.core.dialect import Dialect
from ap_resume_shim.core.errors import InvalidRequest, ResumeError, UpstreamRefused, UpstreamUnrecognised
from ap_resume_shim.core.http import Request, Response
from ap_resume_shim.core.listing import Listing, Page
from ap_resume_shim.core.protocol import Mode, Resume, parse
from ap_resume_shim.core.shape_errors import recognising
from ap_resume_shim.core.steps import Ask, Step
from tests.backends.driving import answer

NOW = "2026-11-30T12:00:00+00:00"
ID = "ae79149e652c33cd78e17b8f97b58eef"
Server = Callable[[str, Any], Any]
"""A server: its response to "METHOD target" with a body, as a JSON value or as a `Response`."""


@dataclass
class Listed:
    """A page of the list, after its candidates were read."""

    listing: Listing
    requests: list[str] = field(default_factory=list)
    bodies: list[Any] = field(default_factory=list)
    asked: dict[str, list[str | None]] = field(default_factory=dict)
    """The ids of the questions, by thread."""
    times: list[str | None] = field(default_factory=list)
    agents: list[str | None] = field(default_factory=list)


def list_on(dialect: Dialect[Any], server: Server, **page: Any) -> Listed:
    """Read one page of the list, and its candidates, of which those that cannot be read are left out."""
    dialect = recognising(dialect)
    requests: list[str] = []
    bodies: list[Any] = []

    def run(steps: Generator[Step, Any, Any]) -> Any:
        answers: Any = None
        try:
            while True:
                step = steps.send(answers)
                assert isinstance(step, Ask)
                answers = tuple(map(respond, step.requests))
        except StopIteration as ended:
            return ended.value

    def respond(request: Request) -> Response:
        requests.append(f"{request.method} {request.target}")
        bodies.append(request.json)
        value = server(requests[-1], request.json)
        return value if isinstance(value, Response) else answer(value)

    listed = Listed(run(dialect.list_waiting(Page(**page))), requests, bodies)
    for candidate in listed.listing.candidates:
        try:
            found = run(dialect.read_candidate(resume(candidate.thread_id), candidate))
        except ResumeError:
            continue
        if found.status != "busy" and found.interrupts:
            listed.asked.setdefault(candidate.thread_id, []).extend(each.id for each in found.interrupts)
            listed.times += [each.asked_at for each in found.interrupts]
            listed.agents.append(found.agent_id)
    return listed


def resume(thread_id: str) -> Resume:
    return parse(strictjson.dumps({"thread_id": thread_id}), Mode.WAIT, now=NOW)


# LangGraph's servers and Aegra


def thread_id(number: int) -> str:
    return f"6a1b2c3d-0000-4000-8000-{number:012}"


@dataclass
class Threads:
    """A server of LangGraph's family: its threads by status, and a task of each thread's state."""

    interrupted: int = 0
    error: int = 0
    idle: int = 0
    row: dict[str, Any] = field(default_factory=dict)
    task: dict[str, Any] = field(default_factory=dict)
    state: dict[str, Any] = field(default_factory=dict)
    run: dict[str, Any] = field(default_factory=dict)
    selected: list[Any] = field(default_factory=list)

    def __call__(self, request: str, body: Any) -> Any:
        if request == "POST /threads/search":
            self.selected.append(body.get("select"))
            assert 1 <= body["limit"] <= 1000, "LangGraph's servers refuse any other limit with 422"
            count = getattr(self, body["status"])
            numbers = range(body["offset"], min(body["offset"] + body["limit"], count))
            first = {"interrupted": 0, "error": 2000, "idle": 4000}[body["status"]]
            return [self._row(first + number, body["status"]) for number in numbers]
        if request.endswith("/state?subgraphs=true"):
            task = {
                "id": "task",
                "name": "ask",
                "interrupts": [{"id": ID, "value": "?"}],
                "result": None,
                "error": None,
            }
            return {
                "values": {},
                "next": ["ask"],
                "tasks": [{**task, **self.task}],
                "metadata": {"source": "loop"},
                "created_at": "asked",
                **self.state,
            }
        if "/runs" in request:
            return [self.run]
        return self._row(int(request[-12:]), "idle")

    def _row(self, number: int, status: str) -> dict[str, Any]:
        asks = {"task": [{"id": ID, "value": "?"}]}
        row = {"thread_id": thread_id(number), "status": status, "interrupts": asks, "state_updated_at": "now"}
        return {**row, "metadata": {"assistant_id": "an-assistant"}, **self.row}


@pytest.mark.parametrize("backend", ["langgraph", "aegra"])
def test_a_page_of_a_thousand_waiting_threads_costs_21_requests(backend: str) -> None:
    server, at, seen = Threads(interrupted=1000), None, list[str]()
    while True:
        listed = list_on(load_backend(backend), server, at=at)
        assert len(listed.requests) <= 21
        seen += listed.asked
        if (at := listed.listing.next) is None:
            break
    assert seen == [thread_id(number) for number in range(1000)]


def test_langgraphs_threads_that_failed_or_were_cancelled_are_read_as_well() -> None:
    listed = list_on(load_backend("langgraph"), Threads(2, 2, 2))
    assert list(listed.asked) == [thread_id(number) for number in (0, 1, 2000, 2001, 4000, 4001)]
    assert (set(listed.times), set(listed.agents)) == ({"asked"}, {"an-assistant"})
    assert [body["sort_order"] for body in listed.bodies if body] == ["asc", "desc", "desc"]
    assert len(listed.requests) == 3 + 2 + 2 + 2 * 2


@pytest.mark.parametrize("interrupts", [{}, {"task": []}])
def test_langgraphs_idle_threads_without_a_question_in_their_row_are_not_read(interrupts: Any) -> None:
    listed = list_on(load_backend("langgraph"), Threads(idle=90, row={"interrupts": interrupts}))
    assert (listed.asked, len(listed.requests)) == ({}, 3)


@pytest.mark.parametrize("limit", [20, 5])
def test_only_the_newest_threads_that_failed_or_are_idle_are_searched(limit: int) -> None:
    server, at, read = Threads(error=5000, idle=5000, task={"interrupts": []}), None, 0
    while (listed := list_on(load_backend("langgraph"), server, at=at, limit=limit)).listing.next is not None:
        at = listed.listing.next
        read += len(listed.listing.candidates)
    assert read + len(listed.listing.candidates) == 200


@pytest.mark.parametrize(
    ("state", "task"),
    [
        ({"tasks": [], "next": [], "metadata": None}, {}),  # the run was deleted
        ({"metadata": {"source": "update"}}, {"interrupts": []}),  # the state was edited
        ({"metadata": {"source": "fork"}}, {"interrupts": []}),
        ({}, {"error": "failed"}),
        ({}, {"result": {}}),
        ({}, {"interrupts": [{"id": "by hand", "value": "?"}]}),  # no answer can reach it
    ],
)
@pytest.mark.parametrize("backend", ["langgraph", "aegra"])
def test_the_state_decides_where_the_row_still_lists_a_question(
    backend: str, state: dict[str, Any], task: dict[str, Any]
) -> None:
    assert list_on(load_backend(backend), Threads(interrupted=3, state=state, task=task)).asked == {}


REFUSED = "1 validation error for Choice"
TYPED = {"id": ID, "value": "?", "response_schema": {"title": "Choice", "type": "object", "required": ["decision"]}}


@pytest.mark.parametrize(
    ("run", "row", "asked"),
    [
        ({"kwargs": {"command": {"resume": {ID: {}}}}}, {}, 1),
        ({"kwargs": {"command": {"resume": {ID: {"decision": "pay"}}}}}, {}, 0),
        ({}, {}, 0),
    ],
    ids=["the answer was refused", "the answer was taken", "unknown"],
)
def test_a_failed_thread_is_listed_if_its_answer_was_refused(run: Any, row: Any, asked: int) -> None:
    server = Threads(error=1, run=run, row=row, task={"interrupts": [TYPED], "error": REFUSED})
    listed = list_on(load_backend("langgraph"), server)
    assert len(listed.asked) == asked


def test_a_javascript_server_always_asks_again_after_it_refused_an_answer() -> None:
    class Js(Threads):
        def _row(self, number: int, status: str) -> dict[str, Any]:
            row = super()._row(number, status)
            del row["state_updated_at"]
            return row

    listed = list_on(load_backend("langgraph"), Js(error=1, task={"interrupts": [TYPED], "error": REFUSED}))
    assert list(listed.asked) == [thread_id(2000)]
    assert not [request for request in listed.requests if "/runs" in request]


def test_an_idle_row_without_a_list_of_questions_may_have_one() -> None:
    """As on a JavaScript server, after a resume was cancelled."""

    class Js(Threads):
        def _row(self, number: int, status: str) -> dict[str, Any]:
            row = super()._row(number, status)
            return {name: row[name] for name in ("thread_id", "status", "metadata")}

    assert len(list_on(load_backend("langgraph"), Js(idle=3)).asked) == 3


def test_a_thread_that_runs_again_is_not_listed() -> None:
    class Busy(Threads):
        def __call__(self, request: str, body: Any) -> Any:
            value = super().__call__(request, body)
            return {**value, "status": "busy"} if request == f"GET /threads/{thread_id(4000)}" else value

    assert list_on(load_backend("langgraph"), Busy(idle=1)).asked == {}


def test_threads_that_vanish_or_fail_leave_the_others() -> None:
    class Some(Threads):
        def __call__(self, request: str, body: Any) -> Any:
            for number, status in ((1, 404), (2, 500), (3, 200)):
                if thread_id(number) in request:
                    return Response(status, (), b"no")
            return super().__call__(request, body)

    assert list(list_on(load_backend("langgraph"), Some(5)).asked) == [thread_id(0), thread_id(4)]


@pytest.mark.parametrize(
    ("agent", "metadata"),
    [("ask", {"graph_id": "ask"}), (thread_id(1), {"assistant_id": thread_id(1)}), (None, None)],
)
def test_an_agent_is_searched_by_its_id_or_the_name_of_its_graph(agent: str | None, metadata: Any) -> None:
    bodies = list_on(load_backend("langgraph"), Threads(), agent_id=agent).bodies
    assert [body.get("metadata") for body in bodies] == [metadata] * 3


@pytest.mark.parametrize("backend", ["langgraph", "aegra", "agno", "mastra", "mastra-agent", "a2a", "agentseek"])
def test_a_caller_who_may_not_search_is_refused(backend: str) -> None:
    card = {"supportedInterfaces": [{"protocolBinding": "JSONRPC", "protocolVersion": "1.0", "url": "http://a/"}]}

    def server(request: str, _: Any) -> Any:
        return card if "agent-card" in request else answer({"detail": "no"}, 401)

    with pytest.raises(UpstreamRefused):
        list_on(load_backend(backend), server)


@pytest.mark.parametrize("backend", ["acp", "adk", "ag-ui", "llamaindex", "agntcy", "duragraph", "run-resume"])
def test_a_backend_that_cannot_list_says_why_and_sends_nothing(backend: str) -> None:
    listed = list_on(load_backend(backend), lambda *_: pytest.fail("a request was sent"))
    assert (listed.listing.listed, listed.requests) == (False, [])
    (note,) = listed.listing.notes
    assert note.endswith(" by its id.")


def test_every_backend_can_list_or_says_why_not() -> None:
    for name in backend_names():
        dialect = load_backend(name)
        assert type(dialect).list_waiting is not Dialect.list_waiting or dialect.unlisted.endswith(".")


# Agno

SESSION = {"session_id": "s", "agent_id": "helper", "updated_at": "2026-11-29T13:25:53Z"}
TOOL = {"tool_call_id": "c", "tool_name": "approve", "tool_args": {}, "requires_confirmation": True, "confirmed": None}
PAUSED = {
    "run_id": "r",
    "agent_id": "helper",
    "status": "PAUSED",
    "requirements": [{"id": thread_id(9), "created_at": "2026-11-29T13:25:53+00:00", "tool_execution": TOOL}],
}


@dataclass
class AgentOS:
    """Sessions of each type; those with an even number wait."""

    agent: int = 0
    team: int = 0
    workflow: int = 0

    def __call__(self, request: str, _: Any) -> Any:
        target = request.removeprefix("GET ")
        if target.startswith("/sessions?"):
            query = dict(part.split("=") for part in target.partition("?")[2].split("&"))
            first = (int(query["page"]) - 1) * int(query["limit"])
            last = min(first + int(query["limit"]), getattr(self, query["type"]))
            return {"data": [{**SESSION, "session_id": f"{query['type']}-{n}"} for n in range(first, last)]}
        if target.startswith("/sessions/"):
            waits = int(target.partition("/runs")[0].rpartition("-")[2]) % 2 == 0
            return [PAUSED] if waits else []
        return PAUSED


def test_agno_lists_sessions_of_agents_teams_and_workflows() -> None:
    listed = list_on(load_backend("agno"), AgentOS(1, 1, 1))
    assert list(listed.asked) == ["agent-0", "team-0", "workflow-0"]
    assert listed.times[0] == "2026-11-29T13:25:53+00:00"
    assert len(listed.listing.notes) == 2


def test_every_waiting_session_of_agno_is_on_one_page() -> None:
    at, seen = None, list[str]()
    while True:
        listed = list_on(load_backend("agno"), AgentOS(212, 0, 3), at=at)
        assert len(listed.requests) <= 21
        seen += listed.asked
        if (at := listed.listing.next) is None:
            break
    assert seen == [f"agent-{n}" for n in range(0, 212, 2)] + ["workflow-0", "workflow-2"]


def test_agno_searches_the_sessions_of_one_component_in_one_database() -> None:
    listed = list_on(load_backend("agno", options={"db_id": "d"}), AgentOS(), agent_id="helper")
    assert all("&component_id=helper&db_id=d" in request for request in listed.requests)


# Mastra

RUN = {"runId": "r", "status": "suspended", "createdAt": "t", "updatedAt": "t"}
SUSPENDED = {"status": "suspended", "suspendPayload": {"question": "ask?"}, "suspendedAt": 1795958754781}
SCHEMA = {"type": "object", "properties": {"approved": {"type": "boolean"}}}


@dataclass
class Workflows:
    """Workflows with suspended runs, by name; `gone` runs are listed and not found."""

    runs: dict[str, int]
    gone: str = ""

    def __call__(self, request: str, _: Any) -> Any:
        path, _, query = request.removeprefix("GET /api/workflows").partition("?")
        if not path:
            return {name: {} for name in self.runs}
        name, _, run = path[1:].partition("/runs")
        if not run and "status=suspended" in query:
            limit, offset = (int(part.split("=")[1]) for part in query.split("&")[1:])
            numbers = range(offset, min(offset + limit, self.runs[name]))
            return {"runs": [{"runId": f"{name}-{number}"} for number in numbers]}
        if not run:
            return {"allSteps": {"ask": {"resumeSchema": json.dumps({"json": SCHEMA})}}}
        return (
            answer({"error": "Workflow run not found"}, 404)
            if self.gone == run[1:]
            else {**RUN, "steps": {"ask": SUSPENDED}}
        )


def test_mastra_lists_the_suspended_runs_of_each_workflow() -> None:
    at, seen = None, list[str]()
    while True:
        listed = list_on(load_backend("mastra"), Workflows({"b": 1, "a": 30, "c": 0}, gone="a-3"), at=at)
        assert len(listed.requests) <= 21
        seen += listed.asked
        if (at := listed.listing.next) is None:
            break
    assert seen == [f"a-{number}" for number in range(30) if number != 3] + ["b-0"]
    assert set(listed.times) == {"2026-11-29T13:25:54.781000+00:00"}
    assert "all users" in listed.listing.notes[0]


def test_mastra_lists_the_runs_of_one_workflow() -> None:
    listed = list_on(load_backend("mastra"), Workflows({"a": 1, "b": 1}), agent_id="b")
    assert list(listed.asked) == ["b-0"]
    with pytest.raises(InvalidRequest):
        list_on(load_backend("mastra"), Workflows({"a": 1}), at=["deleted", 0])


def agents(request: str, _: Any) -> Any:
    path = request.removeprefix("GET /api")
    if path.startswith("/agents?"):
        return {"helper": {"id": "helper-id"}, "silent": {"id": "silent"}}
    if path.startswith("/agents/silent"):
        return answer({"error": "no memory configured"}, 403)
    if path.startswith("/agents/helper"):
        calls = [{"toolCallId": "call", "toolName": "act", "args": {}, "requiresApproval": True}]
        runs = [
            {"runId": f"r{n}", "threadId": thread, "resourceId": "u", "suspendedAt": "t", "toolCalls": calls}
            for n, thread in enumerate(["t0", "t1", "t0", None, "t2"])
        ]
        return {"runs": runs}
    parts = [{"type": "tool-invocation", "toolInvocation": {"toolCallId": "call", "state": "call"}}]
    marks: dict[str, Any] = {} if "/t1/" in path else {"pendingToolApprovals": {"call": {}}}
    return {"messages": [{"id": "m", "role": "assistant", "content": {"parts": parts, "metadata": marks}}]}


def test_mastra_lists_the_threads_whose_messages_show_that_a_call_waits() -> None:
    listed = list_on(load_backend("mastra-agent"), agents)
    assert (list(listed.asked), set(listed.times), set(listed.agents)) == (["t0", "t2"], {"t"}, {"helper"})
    assert len(listed.requests) == 3 + 3


def test_mastras_pages_of_threads_go_on_where_the_last_one_ended() -> None:
    first = list_on(load_backend("mastra-agent"), agents, limit=1)
    assert [list(first.asked), first.listing.next] == [["t0"], ["helper", 1]]
    second = list_on(load_backend("mastra-agent"), agents, limit=20, at=["helper", 3], agent_id="helper-id")
    assert list(second.asked) == ["t2"]


# A2A


def task(state: str, number: int) -> dict[str, Any]:
    message = {"messageId": f"m{number}", "role": "ROLE_AGENT", "parts": [{"text": "Go on?"}]}
    status = {"state": state, "message": message, "timestamp": "2026-11-29T13:25:55Z"}
    return {"id": f"t{number}", "contextId": f"{state}-{number}", "status": status}


@pytest.mark.parametrize("binding", ["rest", "jsonrpc"])
def test_a2a_lists_tasks_that_wait_for_an_answer_then_for_a_login(binding: str) -> None:
    def server(request: str, body: Any) -> Any:
        query = body["params"] if body else dict(part.split("=") for part in request.partition("?")[2].split("&"))
        token, size = int(query.get("pageToken") or 0), int(query["pageSize"])
        count = {"TASK_STATE_INPUT_REQUIRED": 25, "TASK_STATE_AUTH_REQUIRED": 2}[query["status"]]
        tasks = [task(query["status"], number) for number in range(token, min(token + size, count))]
        result = {"tasks": tasks, "nextPageToken": str(token + size) if token + size < count else ""}
        return {"jsonrpc": "2.0", "result": result} if body else result

    dialect = load_backend("a2a", options={"binding": binding, "path": "/a"})
    first = list_on(dialect, server)
    second = list_on(dialect, server, at=first.listing.next)
    assert [len(first.asked), len(second.asked), second.listing.next] == [20, 7, None]
    assert (first.times[0], first.asked["TASK_STATE_INPUT_REQUIRED-0"]) == ("2026-11-29T13:25:55Z", ["m0"])
    assert len(first.requests) == 1 and len(second.requests) == 2


def test_a2a_drops_tasks_that_do_not_wait_from_a_server_that_ignores_the_filter() -> None:
    dialect = load_backend("a2a", options={"binding": "rest", "path": "/a"})
    assert list_on(dialect, lambda *_: {"tasks": [task("TASK_STATE_COMPLETED", 1)]}).asked == {}


def test_a2a_reads_an_endless_list_of_empty_pages_in_parts() -> None:
    def server(_: str, body: Any) -> Any:
        token = body["params"].get("pageToken") or "0"
        return {"jsonrpc": "2.0", "result": {"tasks": [], "nextPageToken": str(int(token) + 1)}}

    listed = list_on(load_backend("a2a", options={"binding": "jsonrpc", "path": "/a"}), server)
    assert (len(listed.requests), listed.listing.next) == (20, [0, "20"])


def test_an_agent_of_a2a_0_3_cannot_list() -> None:
    dialect = load_backend("a2a", options={"binding": "jsonrpc-0.3", "path": "/a"})
    listing = list_on(dialect, lambda *_: pytest.fail("a request was sent")).listing
    assert (listing.listed, len(listing.notes)) == (False, 1)


# Profiles


def test_a_profile_lists_with_its_request_and_reads_each_thread() -> None:
    def server(request: str, body: Any) -> Any:
        if request == "POST /threads/search":
            numbers = range(body["offset"], min(body["offset"] + body["limit"], 45))
            return [{"thread_id": f"t{number}", "agent_id": "ask"} for number in numbers]
        return {"status": "interrupted", "interrupts": [{"id": ID, "value": "?"}]}

    at, seen = None, list[str]()
    while True:
        listed = list_on(load_backend("agent-protocol"), server, at=at)
        assert len(listed.requests) <= 21
        assert set(listed.agents) <= {"ask"}
        seen += listed.asked
        if (at := listed.listing.next) is None:
            break
    assert seen == [f"t{number}" for number in range(45)]


@pytest.mark.parametrize("listed", [{"threads": []}, [{"id": "t1"}], [{"thread_id": 1}]])
def test_a_list_of_a_profile_without_threads_or_ids_is_not_recognised(listed: Any) -> None:
    with pytest.raises(UpstreamUnrecognised):
        list_on(load_backend("agent-protocol"), lambda *_: listed)
