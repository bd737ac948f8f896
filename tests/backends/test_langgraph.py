"""LangGraph's servers: the current one (0.16), an older one (0.2.125) and JavaScript's (1.5)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ap_resume_shim.backends.langgraph.dialect import LangGraph
from ap_resume_shim.backends.langgraph.state import EDITED, UNANSWERABLE
from ap_resume_shim.core.dialect import AT_BREAKPOINT, Answers, Continue, Dialect, Found, Started
from ap_resume_shim.core.errors import MultipleInterrupts, ResumeError, UnsupportedInput, UpstreamUnrecognised
from ap_resume_shim.core.http import Request, Response
from ap_resume_shim.core.interrupt import Interrupt
from ap_resume_shim.core.protocol import Mode
from ap_resume_shim.core.reframer import Ended
from tests.backends.driving import THREAD, Changing, answer, follow, look, refused, resume

LG = LangGraph()
ID = "ae79149e652c33cd78e17b8f97b58eef"
ASKED = {"id": ID, "value": {"question": "approve?"}}
ASKS = Interrupt(ID, {"question": "approve?"})
GIVEN = Answers({ID: "yes"})
GRAPH = {"assistant_id": "an-assistant", "graph_id": "ask"}
CHECKPOINT = "1f1ec032-201c-6144-8000-0eda6b138afe"
RUN = {"run_id": "r1", "assistant_id": "the-last", "status": "success", "created_at": "2026-11-24T10:00:01Z"}
THREAD_, STATE = "GET …", "GET …/state?subgraphs=true"
RUNS = "GET …/runs?limit=1000&select=run_id&select=assistant_id&select=status&select=created_at"
LOOK = f"{THREAD_} + {STATE} + {RUNS}"
RUNNING = {**RUN, "status": "running"}


def current(status: str, *asked: Any, **more: Any) -> dict[str, Any]:
    """A thread of the current server."""
    return {**js(status, *asked), "state_updated_at": "now", "error": None, **more}


def old(status: str, *asked: Any, **more: Any) -> dict[str, Any]:
    """A thread of an older server."""
    return {**js(status, *asked), "error": None, **more}


def js(status: str, *asked: Any, **more: Any) -> dict[str, Any]:
    """A thread of JavaScript's server."""
    tasks = {f"task-{number}": [item] for number, item in enumerate(asked)}
    return {"status": status, "metadata": GRAPH, "interrupts": tasks, "updated_at": "u", **more}


def asks(*asked: Any, **more: Any) -> dict[str, Any]:
    """A task that asks."""
    return {"id": "task-0", "name": "ask", "interrupts": list(asked), "result": None, "error": None, **more}


def state(*tasks: dict[str, Any], source: str | None = "loop", **more: Any) -> dict[str, Any]:
    """A state that is to go on with these tasks."""
    return {
        "values": {"topic": "x"},
        "next": [task["name"] for task in tasks if task["result"] is None],
        "tasks": list(tasks),
        "metadata": {"graph_id": "ask", "source": source},
        "checkpoint": {"checkpoint_id": CHECKPOINT},
        **more,
    }


def serves(thread: dict[str, Any], told: dict[str, Any] | None = None, *runs: Any, **server: Any) -> dict[str, Any]:
    """A server whose state lists what the thread's row does, unless it is given."""
    rows = (thread.get("interrupts") or {}).items()
    listed = state(*(asks(*asked, id=task) for task, asked in rows))
    return {THREAD_: thread, STATE: listed if told is None else told, RUNS: list(runs or [RUN]), **server}


def found(thread: dict[str, Any], told: dict[str, Any] | None = None, *runs: Any, **server: Any) -> Found[Any]:
    return look(LG, serves(thread, told, *runs, **server))[1]


# The thread


@pytest.mark.parametrize(
    "spelling",
    [
        "6a1b2c3d-0000-4000-8000-00000000000f",
        "6A1B2C3D-0000-4000-8000-00000000000F",
        "6a1b2c3d00004000800000000000000F",
    ],
)
def test_every_spelling_of_a_uuid_is_one_thread(spelling: str) -> None:
    assert LG.thread_key(spelling) == "6a1b2c3d00004000800000000000000f"


@pytest.mark.parametrize("spelling", ["t", "6a1b2c3d", "6a1b2c3d-0000-4000-8000-00000000000g", "-" * 36])
def test_a_thread_id_that_is_no_uuid_is_422_before_any_call(spelling: str) -> None:
    with pytest.raises(ResumeError, match="not a UUID") as error:
        LG.thread_key(spelling)
    assert error.value.code == "invalid_request"


@pytest.mark.parametrize("kind", [current, old, js])
def test_a_thread_is_read_side_by_side_with_its_state_and_runs(kind: Any) -> None:
    asked, thread = look(LG, serves(kind("interrupted", ASKED)))
    assert asked == [LOOK]
    assert (thread.status, thread.interrupts, thread.agent_id, thread.moving) == (
        "interrupted",
        (ASKS,),
        "the-last",
        False,
    )
    assert (thread.values, thread.updated_at, thread.run_id) == ({"topic": "x"}, "u", "r1")


def test_the_agent_is_that_of_the_newest_run_in_whatever_order_they_are_listed() -> None:
    first = {**RUN, "assistant_id": "first", "created_at": "2026-11-24T10:00:00Z"}
    assert found(js("interrupted", ASKED), None, first, RUN).agent_id == "the-last"


def test_a_thread_whose_runs_were_deleted_has_the_agent_of_its_metadata() -> None:
    thread = serves(old("interrupted", ASKED))
    assert look(LG, {**thread, RUNS: []})[1].agent_id == "an-assistant"


@pytest.mark.parametrize("status", ["idle", "error"])
def test_a_question_under_another_status_is_found_in_the_state(status: str) -> None:
    """`idle` after JavaScript's server cancelled, `error` after a resume with null."""
    thread = found(js(status), state(asks(ASKED)))
    assert (thread.status, thread.interrupts) == (status, (ASKS,))


def test_a_finished_thread_asks_nothing() -> None:
    thread = found(current("idle"))
    assert (thread.status, thread.interrupts, thread.answered, thread.breakpoint) == ("idle", (), (), False)


def test_a_thread_that_never_ran_asks_nothing() -> None:
    empty: Any = {"values": None, "next": [], "tasks": [], "metadata": None, "checkpoint": None}
    server = serves({"status": "idle", "metadata": None, "state_updated_at": "now"}, empty)
    thread = look(LG, {**server, RUNS: []})[1]
    assert (thread.status, thread.interrupts, thread.agent_id) == ("idle", (), None)


def test_a_static_breakpoint_is_an_interrupted_thread_that_asks_nothing() -> None:
    thread = found(js("interrupted"), state(asks()))
    assert (thread.breakpoint, thread.interrupts, thread.stopped) == (True, (), AT_BREAKPOINT)


def test_an_answered_question_of_a_step_that_failed_is_not_pending() -> None:
    thread = found(current("error"), state(asks(ASKED, error="ValueError('boom')")))
    assert (thread.interrupts, thread.answered, thread.error) == ((), (ASKS,), "ValueError('boom')")


def test_an_older_server_lists_an_answered_question_as_if_it_were_pending() -> None:
    """Recording `failed-answered-again`: in the thread, and in the state with an empty result beside the error."""
    thread = found(old("error", ASKED), state(asks(ASKED, error="ValueError('boom')", result={})))
    assert (thread.interrupts, thread.answered) == ((), (ASKS,))


def test_a_step_that_asks_again_seems_to_have_ended_on_an_older_server() -> None:
    """Its result is empty, and no step follows."""
    asked_again = state(asks(ASKED, result={}))
    assert found(old("interrupted", ASKED), asked_again).interrupts == (ASKS,)
    assert found(old("idle", ASKED), asked_again).interrupts == ()
    assert found(old("interrupted", ASKED), state(asks(ASKED, result={"a": 1}))).interrupts == ()
    assert found(js("interrupted", ASKED), asked_again).interrupts == ()
    other = asks({"id": "b" * 32, "value": None}, id="task-1", name="right")
    assert found(old("interrupted", ASKED), state(asks(ASKED, result={}), other)).interrupts == (Interrupt("b" * 32),)


def test_a_parallel_task_that_has_its_answer_asks_no_more() -> None:
    """Recording `parallel-other-half`."""
    other = asks({"id": "b" * 32, "value": None}, id="task-1", name="right")
    thread = found(js("interrupted"), state(asks(ASKED, result={"a": 1}), other))
    assert thread.interrupts == (Interrupt("b" * 32),)


def test_a_rejection_does_not_reach_the_step_that_failed_after_its_approval() -> None:
    """Two questions, one done, the other's step failed: the row still lists it."""
    failed = asks(ASKED, error="ValueError('boom')")
    done = asks({"id": "b" * 32, "value": None}, id="task-1", name="right", result={"b": 1})
    thread = found(old("error", ASKED), state(failed, done))
    assert (thread.interrupts, thread.answered) == ((), (ASKS,))


def test_the_last_lookup_does_not_ask_who_runs() -> None:
    asked, thread = look(LG, serves(js("interrupted", ASKED)), full=False, agent_id="somebody")
    assert (asked, thread.agent_id) == ([LOOK], None)


# Rows that lag behind their state


@pytest.mark.parametrize("source", ["update", "fork"])
def test_a_question_that_only_the_row_lists_is_gone_after_a_fork_or_an_update(source: str) -> None:
    asked, thread = look(LG, serves(js("interrupted", ASKED), state(asks(id="task-9"), source=source)))
    assert asked == [LOOK, LOOK], "a row that disagrees with its state is looked at again"
    assert (thread.interrupts, thread.breakpoint, thread.stopped) == ((), True, EDITED)


def test_a_state_that_was_edited_to_its_end_asks_nothing() -> None:
    thread = found(js("interrupted", ASKED), state(source="update"))
    assert (thread.status, thread.interrupts, thread.breakpoint) == ("idle", (), False)


def test_a_thread_whose_run_was_deleted_asks_nothing() -> None:
    empty: Any = {"values": None, "next": [], "tasks": [], "metadata": None, "checkpoint": None}
    thread = found(current("interrupted", ASKED), empty)
    assert (thread.status, thread.interrupts, thread.breakpoint) == ("idle", (), False)


def test_a_task_that_a_goto_started_beside_the_question_is_in_the_row_alone() -> None:
    """On the current and the old server the state goes on listing the first task only."""
    second = {"id": "b" * 32, "value": "really?"}
    thread = found(current("interrupted", ASKED, second), state(asks(ASKED)))
    assert thread.interrupts == (ASKS, Interrupt("b" * 32, "really?"))


def inside(inner: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A state whose one task is a subgraph."""
    return state(asks(ASKED, id="outer", name="inner", state=inner, **more))


def test_a_question_of_a_subgraph_is_asked_once() -> None:
    thread = found(js("interrupted", ASKED), inside(state(asks(ASKED))))
    assert thread.interrupts == (ASKS,)


@pytest.mark.parametrize("row", [{"outer": [ASKED]}, {"task-0": [ASKED]}])
def test_a_question_is_gone_after_its_subgraph_was_edited(row: Any) -> None:
    """The parent's task lists it still, and the row does, under the parent's task or the subgraph's old one."""
    told = inside(state(asks(id="task-9"), source="update"))
    thread = found(current("interrupted", interrupts=row), told)
    assert (thread.interrupts, thread.breakpoint, thread.stopped) == ((), True, EDITED)


def test_a_failure_before_a_subgraph_was_edited_is_over() -> None:
    thread = found(current("error"), inside(state(asks(id="task-9"), source="update"), error="boom"))
    assert (thread.answered, thread.breakpoint) == ((), True)


def test_a_node_may_ask_itself_after_its_subgraph_has_ended() -> None:
    assert found(js("interrupted", ASKED), inside(state())).interrupts == (ASKS,)


# Looks that are not of one moment


def test_a_thread_that_came_to_rest_during_the_look_counts_as_busy_at_arrival() -> None:
    server = Changing(
        {
            THREAD_: [current("busy"), current("interrupted", ASKED)],
            STATE: [state(asks(ASKED))],
            RUNS: [[RUN]],
        }
    )
    asked, thread = look(LG, server)
    assert asked == [LOOK, LOOK]
    assert (thread.status, thread.interrupts, thread.moving) == ("interrupted", (ASKS,), True)


def test_a_state_that_was_read_before_the_run_ended_is_read_again() -> None:
    before = state(asks({"id": "b" * 32, "value": None}))
    server = Changing({THREAD_: [current("interrupted", ASKED)], STATE: [before, state(asks(ASKED))], RUNS: [[RUN]]})
    thread = look(LG, server)[1]
    assert (thread.interrupts, thread.moving) == ((ASKS,), True)


def test_a_thread_that_a_run_has_just_begun_on_is_busy() -> None:
    server = Changing({THREAD_: [js("idle"), js("busy")], STATE: [state()], RUNS: [[RUNNING]]})
    assert look(LG, server)[1].status == "busy"


def test_a_row_that_turns_busy_between_looks_is_believed() -> None:
    server = Changing({THREAD_: [js("interrupted", ASKED), js("busy")], STATE: [state()], RUNS: [[RUN]]})
    assert look(LG, server)[1].status == "busy"


def test_a_busy_thread_shows_what_its_state_asks_rather_than_what_was_asked_before() -> None:
    """The thread goes on listing the question while its answer runs."""
    asked, thread = look(LG, serves(current("busy", ASKED), state(asks()), RUNNING))
    assert asked == [LOOK]
    assert (thread.status, thread.interrupts, thread.run_id) == ("busy", (), "r1")


def test_a_thread_that_stayed_busy_behind_a_run_that_is_gone_is_at_rest() -> None:
    thread = found(current("busy"), state(asks(ASKED)))
    assert (thread.status, thread.interrupts, thread.moving) == ("idle", (ASKS,), False)


# Questions that no answer can reach


NO_ID = {"id": "placeholder-id", "value": "continue?"}


@pytest.mark.parametrize("question", [NO_ID, {"value": "continue?"}, {"id": "mine", "value": "continue?"}])
def test_a_question_without_a_usable_id_stops_the_thread_without_an_answer(question: Any) -> None:
    thread = found(js("interrupted", question), state(asks(question)))
    assert (thread.interrupts, thread.breakpoint, thread.stopped) == ((), True, UNANSWERABLE)


def test_two_questions_without_usable_ids_are_no_dead_end() -> None:
    asked, thread = look(LG, serves(current("interrupted", NO_ID, NO_ID)))
    assert (asked, thread.breakpoint) == ([LOOK], True)


def test_a_question_beside_one_without_a_usable_id_is_answered() -> None:
    thread = found(js("interrupted", ASKED, NO_ID))
    assert (thread.interrupts, thread.breakpoint) == ((ASKS,), False)


# Steps that failed


BY_ID = f"GET …/state/{CHECKPOINT}"


def test_a_step_that_failed_beside_an_answered_question_is_retried() -> None:
    """The current server lists the question only in the checkpoint read by its id."""
    failed = asks(id="task-1", name="work", error="boom")
    told = state(asks(result={"a": 1}), failed)
    by_id = state(asks(ASKED, result={"a": 1}), failed)
    assert found(current("error"), told, **{BY_ID: by_id}).answered == (ASKS,)


@pytest.mark.parametrize("by_id", [state(asks(error="boom")), answer("gone", 404)])
def test_a_step_that_failed_with_no_question_near_was_not_interrupted(by_id: Any) -> None:
    thread = found(current("error"), state(asks(error="boom")), **{BY_ID: by_id})
    assert (thread.answered, thread.breakpoint) == ((), False)


def test_a_failed_step_of_a_state_without_a_head_was_not_interrupted() -> None:
    assert found(current("error"), state(asks(error="boom"), checkpoint=None)).answered == ()


CHOICE = {"type": "object", "properties": {"decision": {"enum": ["pay"]}}, "required": ["decision"], "title": "Choice"}
TYPED = {**ASKED, "response_schema": CHOICE}
REFUSED = "1 validation error for Choice\ndecision\n  Input should be 'pay'"
THE_RUN = "GET …/runs/r1"


def brought(resume: Any) -> dict[str, Any]:
    return {**RUN, "status": "error", "kwargs": {"command": {"resume": resume}}}


def test_a_question_shows_the_schema_of_its_answer() -> None:
    assert found(current("interrupted", TYPED)).interrupts == (Interrupt(ID, ASKED["value"], CHOICE),)


@pytest.mark.parametrize("resume", [{ID: {"decision": "no"}}, {"decision": "no"}])
def test_a_typed_question_whose_answer_was_refused_is_asked_still(resume: Any) -> None:
    thread = found(current("error"), state(asks(TYPED, error=REFUSED)), **{THE_RUN: brought(resume)})
    assert ([interrupt.id for interrupt in thread.interrupts], thread.answered) == ([ID], ())


@pytest.mark.parametrize(
    ("error", "run"),
    [
        ("ValueError('boom')", brought({ID: {"decision": "no"}})),
        ("1 validation error for Other", brought({ID: {"decision": "no"}})),
        (REFUSED, brought({ID: {"decision": "pay"}})),
        (REFUSED, brought({"b" * 32: {"decision": "no"}})),
        (REFUSED, {**RUN, "kwargs": {"command": None}}),
        (REFUSED, answer("gone", 404)),
    ],
)
def test_a_typed_question_counts_as_answered_where_its_refusal_is_not_certain(error: str, run: Any) -> None:
    thread = found(current("error"), state(asks(TYPED, error=error)), **{THE_RUN: run})
    assert (thread.interrupts, [interrupt.id for interrupt in thread.answered]) == ((), [ID])


def test_javascripts_state_tells_whether_the_answer_was_saved() -> None:
    """A step whose answer was saved is not listed in `next`."""
    failed = asks(TYPED, error="{}")
    assert found(js("error"), state(failed)).answered == ()
    assert found(js("error"), state(failed, next=[])).interrupts == ()
    twice = state(failed, {**failed, "id": "task-1", "interrupts": [{**TYPED, "id": "b" * 32}]}, next=["ask"])
    assert found(js("error"), twice).interrupts == (), "which of the two is listed, is not known"


@pytest.mark.parametrize(
    ("refusal", "code"),
    [
        (answer({"detail": "Thread not found"}, 404), "thread_not_found"),
        (answer("Thread not found", 404), "thread_not_found"),
        (answer({"detail": "bad token"}, 401), "unauthorized"),
        (answer("Internal Server Error", 500), "upstream_error"),
        (answer("<html>"), "upstream_unrecognised"),
        ({"thread_id": "t"}, "upstream_unrecognised"),
    ],
)
def test_a_thread_that_is_not_shown_is_refused(refusal: Any, code: str) -> None:
    assert refused(LG, {**serves(js("idle")), THREAD_: refusal}).code == code


# The agent


UUID = "6bbbf146-21ad-5f8f-9669-f883eab95006"
DEFAULT = "a457ba2f-c0dc-56e6-817d-ddf904d1e526"
"""The id of the default assistant of the graph `ask`, on every server of the family."""


def served(own: str = "the-last", **server: Any) -> dict[str, Any]:
    return serves(current("interrupted", ASKED), None, {**RUN, "assistant_id": own}, **server)


def assistant(id_: str, graph: str = "ask") -> dict[str, Any]:
    return {f"GET /assistants/{id_}": {"assistant_id": id_, "graph_id": graph}}


def test_the_name_of_a_graph_is_its_default_assistant() -> None:
    asked, thread = look(LG, served(DEFAULT, **assistant(DEFAULT)), agent_id="ask")
    assert asked == [f"{LOOK} + GET /assistants/{DEFAULT}"]
    assert thread.agent_id == DEFAULT


def test_the_name_of_the_threads_graph_is_the_threads_own_assistant() -> None:
    """Another one would run the approved step with another prompt, and bind the thread to itself."""
    server = served(UUID, **assistant(DEFAULT), **assistant(UUID))
    assert look(LG, server, agent_id="ask")[1].agent_id == UUID


def test_an_assistant_that_is_named_by_its_id_takes_over() -> None:
    server = served(DEFAULT, **assistant(DEFAULT), **assistant(UUID))
    assert look(LG, server, agent_id=UUID)[1].agent_id == UUID


def test_a_graph_stands_for_its_default_where_the_threads_own_assistant_is_gone() -> None:
    server = served(UUID, **assistant(DEFAULT), **{f"GET /assistants/{UUID}": answer("gone", 404)})
    assert look(LG, server, agent_id="ask")[1].agent_id == DEFAULT


@pytest.mark.parametrize("refusal", [answer("No assistant found", 404), answer({"detail": "Invalid assistant"}, 422)])
def test_an_unknown_agent_is_404(refusal: Response) -> None:
    server = served("the-last", **{f"GET /assistants/{UUID}": refusal})
    assert refused(LG, server, agent_id=UUID).code == "agent_not_found"


def test_an_agent_of_another_graph_is_refused_since_it_would_lose_the_question() -> None:
    error = refused(LG, served(**assistant(UUID, "two")), agent_id=UUID)
    assert (error.code, error.metadata) == ("invalid_request", {"field": "agent_id"})


def test_metadata_that_a_client_overwrote_does_not_make_an_agent_a_stranger() -> None:
    thread = old("interrupted", ASKED, metadata={"graph_id": "overwritten"})
    server = serves(thread, None, {**RUN, "assistant_id": DEFAULT}, **assistant(DEFAULT))
    assert look(LG, server, agent_id="ask")[1].agent_id == DEFAULT


# The answer


def check(value: Any, thread: dict[str, Any]) -> None:
    LG.check(resume(), found(thread), Answers({ID: value}))


@pytest.mark.parametrize("value", [None, {}, {"f" * 32: 1}, 2**64 - 1, -(2**63), 1.5, True, ["é", {"a": None}]])
def test_every_value_is_carried_when_it_is_keyed_by_id(value: Any) -> None:
    check(value, current("interrupted", ASKED))


@pytest.mark.parametrize(
    ("thread", "value"),
    [
        (current("interrupted", ASKED), 2**64),
        (current("interrupted", ASKED), [{"deep": [-(2**63) - 1]}]),
        (current("interrupted", ASKED), "a\0b"),
        (current("interrupted", ASKED), {"a\0b": 1}),
        (old("interrupted", ASKED), 2**63),
        (js("interrupted", ASKED), 2**60 + 1),
        (js("interrupted", ASKED), -(2**53)),
        (js("interrupted", ASKED), {"lc": 1, "type": "constructor"}),
    ],
)
def test_a_value_that_the_server_would_change_is_refused(thread: dict[str, Any], value: Any) -> None:
    with pytest.raises(UnsupportedInput):
        check(value, thread)


def test_going_on_carries_nothing() -> None:
    LG.check(resume(), found(js("interrupted", ASKED)), Continue())


STOPPED = replace(found(current("interrupted", ASKED)), agent_id="agent")


def body(
    verdict: Answers | Continue = GIVEN, mode: Mode = Mode.WAIT, thread: Found[Any] = STOPPED, **fields: Any
) -> Any:
    return LG.resume(resume(mode, **fields), thread, verdict).json


def test_the_answer_goes_keyed_by_id_and_a_second_run_is_rejected() -> None:
    assert body() == {
        "assistant_id": "agent",
        "command": {"resume": {ID: "yes"}},
        "multitask_strategy": "reject",
        "on_disconnect": "cancel",
    }


def test_a_breakpoint_goes_on_with_input_null() -> None:
    sent = body(Continue())
    assert sent["input"] is None
    assert "command" not in sent


@pytest.mark.parametrize(
    ("mode", "target", "accept"),
    [
        (Mode.BACKGROUND, "/runs", "application/json"),
        (Mode.WAIT, "/runs/wait", "application/json"),
        (Mode.STREAM, "/runs/stream", "text/event-stream"),
    ],
)
def test_each_mode_has_its_route(mode: Mode, target: str, accept: str) -> None:
    request = LG.resume(resume(mode), STOPPED, Continue())
    assert (request.method, request.target, request.accept) == ("POST", f"/threads/{THREAD}{target}", accept)


def test_fields_of_the_draft_go_on_and_absent_ones_are_left_out() -> None:
    """The server answers 422 to an explicit null."""
    sent = body(metadata={"a": 1}, config={"tags": ["x"]}, webhook="http://hook", durability="sync", checkpoint_x=1)
    assert (sent["metadata"], sent["config"], sent["webhook"]) == ({"a": 1}, {"tags": ["x"]}, "http://hook")
    assert (sent["durability"], sent["checkpoint_x"]) == ("sync", 1)


def test_on_disconnect_is_said_since_the_servers_default_is_another() -> None:
    assert body(on_disconnect="continue")["on_disconnect"] == "continue"
    assert "on_disconnect" not in body(mode=Mode.BACKGROUND)


def test_the_mode_of_messages_has_another_name_there() -> None:
    sent = body(mode=Mode.STREAM, stream_mode=["messages", "values"])
    assert sent["stream_mode"] == ["messages-tuple", "values"]
    assert "stream_mode" not in body()


# A row with the place of an earlier run


LEFT = {"config": {"configurable": {"checkpoint_id": "earlier", "checkpoint_ns": "", "user": "x"}}}
DONE = asks({"id": "d" * 32, "value": "done?"}, id="task-d", result={})
LATER = {"id": "e" * 32, "value": "later?"}


@pytest.mark.parametrize("kind", [old, js])
@pytest.mark.parametrize("verdict", [GIVEN, Continue()])
def test_a_resume_goes_to_the_head_whatever_place_the_row_has(kind: Any, verdict: Answers | Continue) -> None:
    thread = found(kind("interrupted", ASKED, **LEFT))
    LG.check(resume(), thread, verdict)
    sent = body(verdict, thread=thread, config={"tags": ["x"], "configurable": {"a": 1}})["config"]
    assert sent == {"tags": ["x"], "configurable": {"a": 1, "checkpoint_id": None, "checkpoint_ns": ""}}


def test_a_resume_of_a_thread_without_a_place_has_no_config_of_ours() -> None:
    thread = found(old("interrupted", ASKED, config={"configurable": {"user": "x"}}))
    assert "config" not in body(thread=thread)


def test_steps_that_ended_beside_the_question_are_not_run_again() -> None:
    server = old("interrupted", ASKED, **LEFT), state(asks(ASKED), DONE)
    for verdict in (GIVEN, Continue()):
        with pytest.raises(UnsupportedInput, match="/copy"):
            LG.check(resume(), found(*server), verdict)
    LG.check(resume(), found(js("interrupted", ASKED, **LEFT), server[1]), GIVEN)


def test_a_step_that_would_run_again_after_its_answer_is_answered_with_the_others() -> None:
    thread = found(old("interrupted", ASKED, LATER, **LEFT))
    with pytest.raises(MultipleInterrupts, match="at once"):
        LG.check(resume(), thread, GIVEN)
    LG.check(resume(), thread, Answers({ID: "yes", "e" * 32: "no"}))


def test_no_preparation_is_needed() -> None:
    thread: Found[Any] = Found("error", (ASKS,))
    assert follow(LG.prepare(resume(), thread, Continue()), {}) == ([], (thread, Continue()))


@pytest.mark.parametrize(
    ("response", "code"),
    [
        (answer({"detail": "Thread is already running a task. Wait for it to finish."}, 409), "thread_busy"),
        (answer("Thread is already running a task. Wait for it to finish.", 422), "thread_busy"),
        (answer({"detail": "Thread or assistant not found."}, 404), "agent_not_found"),
        (answer({"detail": "Invalid assistant: 'x'"}, 422), "agent_not_found"),
        (answer({"detail": "Invalid webhook"}, 422), "invalid_request"),
        (answer({"success": False, "error": {"name": "ZodError"}}, 400), "invalid_request"),
        (answer("Internal Server Error", 500), "upstream_error"),
    ],
)
def test_a_refusal_means_what_each_server_means_by_it(response: Response, code: str) -> None:
    assert LG.refusal(response).code == code


# The run


NAMELESS = Response(200)
HEAD = answer("", 200, ("Content-Location", f"/threads/{THREAD}/runs/r1"))


def started(mode: Mode, raw: bytes, head: Response = NAMELESS) -> Started[Any] | None:
    return LG.started(head, raw, resume(mode), Found("interrupted", agent_id="agent"))


@pytest.mark.parametrize("mode", [Mode.WAIT, Mode.STREAM])
def test_the_run_is_named_by_the_head(mode: Mode) -> None:
    assert started(mode, b"", HEAD) == Started("r1", "agent")


def test_the_run_is_named_by_the_streams_first_event_where_the_head_does_not() -> None:
    assert started(Mode.STREAM, b': hi\n\nevent: metadata\ndata: {"run_id": "r1"}\n\n') == Started("r1", "agent")


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"event: metadata\ndata: {}\n\n",
        b"event: metadata\ndata: 7\n\n",
        b'event: values\ndata: {"run_id": "r"}\n\n',
    ],
)
def test_a_run_that_is_not_named_yet_is_none(raw: bytes) -> None:
    assert started(Mode.STREAM, raw) is None


@pytest.mark.parametrize(
    ("word", "status"),
    [("pending", "pending"), ("running", "pending"), (None, "pending"), ("strange", "pending"), ("error", "error")],
)
def test_a_background_run_is_told_in_the_drafts_words(word: Any, status: str) -> None:
    run = started(Mode.BACKGROUND, answer({**RUN, "status": word, "kwargs": {}}).body)
    assert run is not None
    assert (run.run_id, run.agent_id, run.created_at, run.status) == ("r1", "the-last", RUN["created_at"], status)


@pytest.mark.parametrize("raw", [b"", b"[]", b"{}", b'{"run_id": null}'])
def test_a_background_answer_that_is_no_run_is_unrecognised(raw: bytes) -> None:
    with pytest.raises(UpstreamUnrecognised):
        started(Mode.BACKGROUND, raw)


def test_the_run_is_read_cancelled_and_found_below_its_thread() -> None:
    run: Started[Any] = Started("r1")
    path = f"/threads/{THREAD}/runs/r1"
    assert (LG.location(resume(), run), LG.run(resume(), run)) == (path, Request.get(path))
    assert LG.cancel(resume(), run) == Request("POST", path + "/cancel")
    assert LG.join(resume(), run) == Request("GET", path + "/stream", accept="text/event-stream")
    assert LG.delete(resume()) == Request("DELETE", f"/threads/{THREAD}")


@pytest.mark.parametrize(
    ("response", "ended"),
    [
        (answer({"status": "pending"}), False),
        (answer({"status": "running"}), False),
        (answer({"status": "success"}), True),
        (answer({"status": "error"}), True),
        (answer("oops"), True),
    ],
)
def test_a_run_is_over_when_it_is_neither_pending_nor_running(response: Response, ended: bool) -> None:
    assert LG.has_ended(response) is ended


@pytest.mark.parametrize(
    ("raw", "ended"),
    [
        (b'\n\n{"topic": "x", "__interrupt__": [{"id": "a"}]}', Ended({"topic": "x"})),
        (b'{"__interrupt__": [{"id": "a"}]}', Ended(None)),
        (b'{"__error__": {"error": "ValueError"}}', Ended(None, {"error": "ValueError"})),
        (b"{}", Ended({})),
        (b"", Ended(None)),
        (b"[1]", Ended([1])),
    ],
)
def test_the_waits_answer_is_values_and_what_the_server_adds(raw: bytes, ended: Ended) -> None:
    """Older servers leave the values out when the run stops at a question."""
    assert LG.ended(raw) == ended


QUESTION = {**ASKED, "response_schema": None}


def test_the_questions_in_a_waits_body_are_read_if_each_of_them_is_complete() -> None:
    schema = {"type": "boolean"}
    body = {"topic": "x", "__interrupt__": [QUESTION, {"id": "b" * 32, "value": 1, "response_schema": schema}]}
    assert LG.ended(answer(body).body) == Ended({"topic": "x"}, None, (ASKS, Interrupt("b" * 32, 1, schema)))


@pytest.mark.parametrize(
    "listed",
    [ASKED, {**QUESTION, "id": "placeholder-id"}, {**QUESTION, "id": None}, {"id": ID, "response_schema": None}, "x"],
    ids=["no schema", "unusable id", "no id", "no value", "text"],
)
def test_a_waits_body_with_a_question_that_is_incomplete_lists_none(listed: Any) -> None:
    """Servers that omit `response_schema` may list one of two questions; the state has them all."""
    assert LG.ended(answer({"topic": "x", "__interrupt__": [QUESTION, listed]}).body) == Ended({"topic": "x"})


@pytest.mark.parametrize("listed", [[], {}, None])
def test_a_waits_body_at_a_breakpoint_lists_no_question(listed: Any) -> None:
    assert LG.ended(answer({"topic": "x", "__interrupt__": listed}).body) == Ended({"topic": "x"})


def test_its_stream_is_relayed() -> None:
    assert type(LG).reframer is Dialect.reframer
