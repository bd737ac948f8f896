"""Which question of a thread a vendor resume answers: by the run that it names, and by the client's name for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from ap_resume_shim.backends import load_backend, read_profile
from ap_resume_shim.backends.a2a.dialect import A2A
from ap_resume_shim.backends.acp.dialect import Acp
from ap_resume_shim.backends.adk.dialect import Adk
from ap_resume_shim.backends.ag_ui.dialect import AgUi
from ap_resume_shim.backends.agno.dialect import Agno
from ap_resume_shim.backends.llamaindex.dialect import LlamaIndex
from ap_resume_shim.backends.mastra.agent import MastraAgent
from ap_resume_shim.backends.mastra.workflow import Mastra
from ap_resume_shim.core.dialect import Dialect, Found
from ap_resume_shim.core.errors import AmbiguousInterrupt, ThreadNotFound, ThreadNotInterrupted
from ap_resume_shim.core.interrupt import Interrupt
from ap_resume_shim.core.vendor_resume import ClientRequest, VendorResume
from tests.backends import test_a2a as a2a
from tests.backends import test_acp as acp
from tests.backends import test_adk as adk
from tests.backends import test_agno as agno
from tests.backends import test_llamaindex as llamaindex
from tests.backends import test_mastra as mastra
from tests.backends import test_mastra_agent as mastra_agent
from tests.backends.driving import THREAD, answer, follow, resume
from tests.backends.vendor_requests import CONTINUE, FORM, HEX, ag_ui, client, entry, form, function, tool
from tests.backends.vendor_requests import acp as acp_body
from tests.backends.vendor_requests import adk as adk_body


def fields(dialect: Dialect[Any], request: ClientRequest, found: Found[Any]) -> Mapping[str, Any] | None:
    """The fields of the draft for a vendor resume of this thread, without those that name no question."""
    vendor = dialect.recognise(request)
    assert vendor is not None
    addressed = vendor.convention.addressed(vendor, found)
    return (
        None
        if addressed is None
        else {name: addressed[name] for name in addressed if name in ("input", "interrupt_id")}
    )


def of_run(dialect: Dialect[Any], run_id: str, server: dict[str, Any]) -> Found[Any]:
    """The thread as a client that names a run finds it."""
    found: Found[Any] = follow(dialect.inspect_thread(replace(resume(), run_id=run_id)), server)[1]
    return found


def located(dialect: Dialect[Any], request: ClientRequest, server: dict[str, Any]) -> str:
    """The thread of a vendor resume that names only a run."""
    vendor = dialect.recognise(request)
    assert vendor is not None
    thread_id: str = follow(dialect.locate(vendor), server)[1]
    return thread_id


# A2A


def test_of_a_context_only_the_named_task_counts() -> None:
    tasks = [a2a.task(), a2a.task("working", "t2"), a2a.task("completed", "t3")]
    server = {a2a.GET_CARD: a2a.REST_CARD, a2a.LIST: {"tasks": tasks}}
    waiting, working, ended = (of_run(A2A(), name, server) for name in ("t1", "t2", "t3"))
    assert (waiting.status, waiting.interrupts, waiting.run_id) == ("interrupted", (a2a.ASKS,), "t1")
    assert (working.status, working.interrupts) == ("busy", ())
    assert (ended.status, ended.interrupts) == ("idle", ())
    with pytest.raises(ThreadNotFound):
        of_run(A2A(), "t4", server)


def test_a_named_task_of_0_3_needs_no_ledger() -> None:
    old = {**a2a.task(), "status": {"state": "input-required", "message": a2a.QUESTION}}
    found = of_run(A2A(), "t1", {a2a.GET_CARD: a2a.OLD_CARD, "POST /": {"jsonrpc": "2.0", "result": old}})
    assert [interrupt.id for interrupt in found.interrupts] == ["q1"]


def test_a_task_has_its_context() -> None:
    request = client("POST /a2a/message:send", {"message": {"taskId": "t1", "parts": []}})
    assert located(A2A(), request, {a2a.GET_CARD: a2a.REST_CARD, "GET /a2a/tasks/t1": a2a.task()}) == THREAD
    with pytest.raises(ThreadNotFound):
        located(
            A2A(), request, {a2a.GET_CARD: a2a.REST_CARD, "GET /a2a/tasks/t1": answer({"error": {"code": 404}}, 404)}
        )


# ACP


def test_of_a_session_only_the_named_run_counts() -> None:
    server = {"GET /runs/r1": acp.run(), "GET /runs/r2": acp.run("r2", "in-progress")}
    assert [i.id for i in of_run(Acp(), "r1", server).interrupts] == [acp.Q1]
    assert of_run(Acp(), "r2", server).status == "busy"


def test_a_run_of_acp_has_its_session() -> None:
    request = client("POST /runs/r1", acp_body())
    assert located(Acp(), request, {"GET /runs/r1": acp.run()}) == THREAD
    with pytest.raises(ThreadNotFound):
        located(Acp(), request, {"GET /runs/r1": answer({"code": "not_found", "message": "gone"}, 404)})


# AgentOS


def paused(*runs: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A session with paused runs of the agent."""
    listed = [agno.listed(run_id=run["run_id"]) for run in runs]
    paths = {f"GET /agents/helper/runs/{run['run_id']}?session_id={THREAD}": run for run in runs}
    return {agno.LIST: listed, **paths, **more}


def test_of_a_session_of_agno_only_the_named_run_counts() -> None:
    server = paused(agno.agent_run(agno.confirmation()), {**agno.agent_run(agno.external()), "run_id": "r2"})
    assert of_run(Agno(), "r2", server).run_id == "r2"
    assert of_run(Agno(), "r3", server).status == "idle"


def test_a_run_that_waits_for_an_administrator_goes_on_without_an_answer() -> None:
    found = of_run(Agno(), "r1", paused(agno.agent_run(agno.confirmation(approval_type="required"))))
    assert (found.interrupts, found.breakpoint) == ((), True)
    approved = tool("c1", approval_type="required")
    request = client(f"POST /agents{CONTINUE}", form(tools=[approved], session_id=THREAD), FORM)
    assert fields(Agno(), request, found) == {}


def continued(*tools: dict[str, Any]) -> ClientRequest:
    return client(f"POST /agents{CONTINUE}", form(tools=list(tools), session_id=THREAD), FORM)


def test_tools_are_named_by_their_calls() -> None:
    two = agno.agent_run(agno.confirmation(), {**agno.confirmation(), "tool_call_id": "c2"})
    found = of_run(Agno(), "r1", paused(two))
    assert fields(Agno(), continued(tool("c1"), tool("c2", confirmed=False), tool("c0")), found) == {
        "input": {"q1": True, "q2": False}
    }
    assert fields(Agno(), continued(tool("c2")), found) == {"input": True, "interrupt_id": "q2"}
    assert fields(Agno(), continued(tool("c0")), found) == {"input": True, "interrupt_id": "c0"}
    assert fields(Agno(), continued(), found) == {}


def test_requirements_and_steps_have_the_ids_of_their_questions() -> None:
    flow = agno.found(agno.workflow_run(agno.step(requires_confirmation=True)), agno.FLOW)
    steps = form(step_requirements=[{"step_id": "s1", "confirmed": True}], session_id=THREAD)
    request = client(f"POST /workflows{CONTINUE}", steps, FORM)
    assert fields(Agno(), request, flow) == {"input": True, "interrupt_id": "s1:1.0"}


# ADK


def test_a_call_that_asks_again_has_a_number() -> None:
    first = adk.found(adk.calls("adk-1"))
    again = adk.found(adk.calls("adk-1"), adk.result("adk-1", {}), adk.calls("adk-1"))
    request = client("POST /run", adk_body(function("adk-1")))
    assert fields(Adk(), request, first) == {"input": "yes", "interrupt_id": "adk-1"}
    assert fields(Adk(), request, again) == {"input": "yes", "interrupt_id": "adk-1#2"}


def test_several_responses_are_a_map_unless_one_of_them_is_not_pending() -> None:
    found = adk.found(adk.calls("adk-1", "adk-2"))
    both = client("POST /run", adk_body(function("adk-1"), function("adk-2")))
    assert fields(Adk(), both, found) == {"input": {"adk-1": "yes", "adk-2": "yes"}}
    stale = client("POST /run", adk_body(function("adk-1"), function("adk-0")))
    assert fields(Adk(), stale, found) == {"input": "yes", "interrupt_id": "adk-0"}


# AG-UI


def test_entries_are_named_by_their_questions() -> None:
    found: Found[Any] = Found("interrupted", (Interrupt("q1"), Interrupt("q2")))
    one, both = (client("POST /", ag_ui(resume=[entry(name) for name in names])) for names in (("q1",), ("q1", "q2")))
    assert fields(AgUi(), one, found) == {"input": "yes", "interrupt_id": "q1"}
    assert fields(AgUi(), both, found) == {"input": {"q1": "yes", "q2": "yes"}}
    older = client("POST /", ag_ui(forwardedProps={"command": {"resume": {HEX: 1}}}))
    assert fields(AgUi(), older, found) == {"input": {HEX: 1}}


# Mastra


def step(**body: Any) -> ClientRequest:
    return client(f"POST /api/workflows/deploy/resume?runId={THREAD}", {"resumeData": 1, **body})


def test_a_step_is_named_by_its_workflows() -> None:
    nested = mastra.steps(outer={"status": "suspended"}, outer_ask=mastra.ASKED)
    pin = {"input": 1, "interrupt_id": "outer.ask@1795574340418"}
    for name in ("outer", "outer.ask", ["outer", "ask"]):
        assert fields(Mastra(), step(step=name), nested) == pin
    assert fields(Mastra(), step(step="other"), nested) == {"input": 1, "interrupt_id": "other"}
    for none in ({}, {"step": None}, {"step": [1]}):
        assert fields(Mastra(), step(**none), nested) == {"input": 1}
    assert fields(Mastra(), step(step="ask"), mastra.found(mastra.run("running"))) == {"input": 1}


def test_an_item_of_a_foreach_is_named_by_its_index() -> None:
    items = {"foreachOutput": [mastra.ASKED, mastra.ASKED]}
    found = mastra.steps(each={"status": "suspended", "suspendPayload": {"__workflow_meta": items}})
    assert len(found.interrupts) == 2
    assert fields(Mastra(), step(step="each"), found) == {"input": 1}
    assert fields(Mastra(), step(step="each", forEachIndex=1), found) == {
        "input": 1,
        "interrupt_id": found.interrupts[1].id,
    }


AGENT = MastraAgent()
TWO_RUNS = mastra_agent.server(
    [mastra_agent.run(mastra_agent.DELETE), mastra_agent.run(mastra_agent.NAME, id_="r2")],
    mastra_agent.USER,
    mastra_agent.MARKED,
    mastra_agent.ASKING,
)


def decided(call: Any, run: str = "r2") -> ClientRequest:
    return client("POST /api/agents/helper/approve-tool-call", {"runId": run, "toolCallId": call})


def test_of_a_thread_of_mastra_only_the_named_run_counts() -> None:
    found = of_run(AGENT, "r2", TWO_RUNS)
    assert (found.status, found.interrupts, found.run_id) == ("interrupted", (mastra_agent.WHICH_NAME,), "r2")
    assert of_run(AGENT, "r3", TWO_RUNS).status == "idle"
    named = replace(resume(), run_id="r1")
    again = follow(AGENT.refresh_thread(named, found), TWO_RUNS)[1]
    assert again.interrupts == (mastra_agent.MAY_DELETE,)


def test_a_tool_call_is_named_by_its_id() -> None:
    found = of_run(AGENT, "r2", TWO_RUNS)
    assert fields(AGENT, decided("c2"), found) == {"input": True, "interrupt_id": mastra_agent.WHICH_NAME.id}
    assert fields(AGENT, decided("c0"), found) == {"input": True, "interrupt_id": "c0"}
    assert fields(AGENT, decided(None), found) == {"input": True}


def test_a_run_of_an_agent_has_its_thread() -> None:
    runs = {"runs": [mastra_agent.run(), {"runId": "r2", "threadId": None}, mastra_agent.run(id_="r2")]}
    server = {"GET /api/agents/helper/suspended-runs?perPage=1000": runs}
    assert located(AGENT, decided("c2"), server) == THREAD
    with pytest.raises(ThreadNotInterrupted):
        located(AGENT, decided("c2", "r3"), server)


# LlamaIndex


def event(kind: str) -> ClientRequest:
    return client(f"POST /events/{THREAD}", {"event": {"type": kind, "value": {"response": "yes"}}})


def test_an_event_answers_the_question_that_takes_its_class() -> None:
    found = llamaindex.found(*llamaindex.ASKED)
    pin = {"input": {"response": "yes"}, "interrupt_id": found.interrupts[0].id}
    assert fields(llamaindex.LI, event("Answer"), found) == pin
    assert fields(llamaindex.LI, event("Progress"), found) is None
    two = llamaindex.found(*llamaindex.TWO, dialect=llamaindex.BY_CLASS)
    assert fields(llamaindex.BY_CLASS, event("AnswerB"), two) == {**pin, "interrupt_id": two.interrupts[1].id}
    assert fields(llamaindex.BY_CLASS, event("Answer"), two) is None


def test_an_event_that_several_questions_take_is_refused() -> None:
    same = LlamaIndex(event="A:Answer, B:Answer")
    with pytest.raises(AmbiguousInterrupt):
        fields(same, event("Answer"), llamaindex.found(*llamaindex.TWO, dialect=same))


def test_an_event_to_a_run_that_asks_nothing_is_no_answer() -> None:
    assert fields(llamaindex.LI, event("Answer"), Found("idle", context=None)) is None
    working = llamaindex.found(llamaindex.begins("ask"))
    assert fields(llamaindex.LI, event("Answer"), working) is None


# Profiles


def test_of_a_thread_of_a_profile_only_the_named_run_counts() -> None:
    profile = load_backend("run-resume")
    run_id = "8F4AD8E1-CF47-40F1-AC15-58484A812CEE"
    run = {"run_id": run_id.lower(), "status": "interrupted", "interrupt": {"value": "sure?"}}
    server = {"GET …": {"status": "interrupted"}, "GET …/runs": [run]}
    assert len(of_run(profile, run_id, server).interrupts) == 1
    other = of_run(profile, "r2", server)
    assert (other.status, other.interrupts, other.run_id) == ("idle", (), "r2")
    assert of_run(profile, "r2", {"GET …": {"status": "idle"}, "GET …/runs": []}).status == "idle"


def vendor(profile: Dialect[Any], request: ClientRequest) -> VendorResume:
    found = profile.recognise(request)
    assert found is not None
    return found


def test_a_run_of_a_profile_has_its_thread() -> None:
    agntcy = load_backend("agntcy")
    request = client("POST /runs/r1", {"approved": True})
    assert located(agntcy, request, {"GET /runs/r1": {"run_id": "r1", "thread_id": THREAD}}) == THREAD
    with pytest.raises(ThreadNotFound):
        located(agntcy, request, {"GET /runs/r1": {"run_id": "r1"}})
    by_thread = load_backend("run-resume")
    named = replace(vendor(by_thread, client(f"POST /threads/{THREAD}/runs/r1/resume", {"resume": 1})), thread_id=None)
    with pytest.raises(ThreadNotFound):
        follow(by_thread.locate(named), {})


def test_a_route_that_starts_runs_answers_with_the_answer_and_a_thread(tmp_path: Any) -> None:
    protocol = load_backend("agent-protocol")
    answered = {"thread_id": THREAD, "input": {"command": {"resume": None}}}
    assert vendor(protocol, client("POST /runs/wait", answered)).fields == {"input": None}
    assert protocol.recognise(client("POST /runs/wait", {"thread_id": THREAD, "input": {"topic": "x"}})) is None
    assert protocol.recognise(client("POST /runs", {"input": answered["input"]})) is None
    assert protocol.recognise(client("POST /runs", {**answered, "thread_id": 3})) is None
    assert protocol.conventions[0].read(client("GET /runs", answered)) is None
    path = tmp_path / "mine.toml"
    path.write_text(
        'name = "mine"\nthread_is = "x"\n[lookup.thread]\nrequest = "GET /t/{thread_id}"\n'
        '[found]\nstatus = "/thread/s"\n'
        '[resume]\nwait = "POST /t/{thread_id}/go"\nanswer = "/a"\n'
    )
    mine = read_profile(path)
    assert vendor(mine, client("POST /t/1/go", {"a": False})).thread_id == "1"
    assert mine.recognise(client("POST /t/1/go", {})) is None


def test_every_request_that_names_a_run_is_an_answer() -> None:
    request = client(f"POST /threads/{THREAD}/runs/r1/resume", b"")
    assert vendor(load_backend("run-resume"), request).fields == {}
