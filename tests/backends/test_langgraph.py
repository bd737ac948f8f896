"""LangGraph's servers: the current one (0.16), an older one (0.2.125) and JavaScript's (1.5)."""

from __future__ import annotations

from typing import Any

import pytest

from ap_resume_shim.backends.langgraph import LangGraph
from ap_resume_shim.core.dialect import Dialect, Found, GoOn, Input, Started
from ap_resume_shim.core.errors import ResumeError, UnsupportedInput, UpstreamUnrecognised
from ap_resume_shim.core.exchange import Ended, Request, Response
from ap_resume_shim.core.interrupt import Interrupt
from ap_resume_shim.core.protocol import Mode
from tests.backends.driving import THREAD, answer, follow, look, refused, resume

LG = LangGraph()
ID = "ae79149e652c33cd78e17b8f97b58eef"
ASKED = {"id": ID, "value": {"question": "approve?"}}
ASKS = Interrupt(ID, {"question": "approve?"})
GIVEN = Input({ID: "yes"})
GRAPH = {"assistant_id": "an-assistant", "graph_id": "ask"}
REST: dict[str, Any] = {"values": {"topic": "x"}, "next": [], "tasks": [], "metadata": {"graph_id": "ask"}}
RUN = {"run_id": "r1", "assistant_id": "the-last", "status": "success", "created_at": "2026-11-24T10:00:01Z"}


def current(status: str, *asked: Any, **more: Any) -> dict[str, Any]:
    """A thread of the current server."""
    return {**js(status, *asked), "state_updated_at": "now", "error": None, **more}


def old(status: str, *asked: Any, **more: Any) -> dict[str, Any]:
    """A thread of an older server."""
    return {**js(status, *asked), "error": None, **more}


def js(status: str, *asked: Any, **more: Any) -> dict[str, Any]:
    """A thread of JavaScript's server."""
    tasks = {f"task-{number}": [item] for number, item in enumerate(asked)}
    return {
        "status": status,
        "metadata": GRAPH,
        "interrupts": tasks,
        "values": {"topic": "x"},
        "updated_at": "u",
        **more,
    }


def state(*tasks: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {**REST, "next": ["ask"], "tasks": [{"result": None, "error": None, **task} for task in tasks], **more}


def found(thread: dict[str, Any], *, agent: bool = True, **fields: Any) -> Found:
    server = {"GET …": thread, "GET …/state": REST, "GET …/runs?limit=1000": [RUN]}
    return look(LG, {**server, **fields.pop("server", {})}, agent=agent, **fields)[1]


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


def test_an_interrupted_thread_of_the_current_server_takes_one_request() -> None:
    asked, thread = look(LG, {"GET …": current("interrupted", ASKED)})
    assert asked == ["GET …"]
    assert (thread.status, thread.interrupts, thread.agent_id) == ("interrupted", (ASKS,), "an-assistant")
    assert (thread.values, thread.updated_at) == ({"topic": "x"}, "u")


@pytest.mark.parametrize("kind", [old, js])
def test_the_agent_of_other_servers_is_that_of_the_last_run(kind: Any) -> None:
    """Metadata can be overwritten by a client there; JavaScript's server lists the oldest run first."""
    runs = [{**RUN, "assistant_id": "first", "created_at": "2026-11-24T10:00:00Z"}, RUN]
    asked, thread = look(LG, {"GET …": kind("interrupted", ASKED), "GET …/runs?limit=1000": runs})
    assert asked == ["GET …", "GET …/runs?limit=1000"]
    assert thread.agent_id == "the-last"


def test_a_thread_whose_runs_were_deleted_has_the_agent_of_its_metadata() -> None:
    assert found(old("interrupted", ASKED), server={"GET …/runs?limit=1000": []}).agent_id == "an-assistant"


@pytest.mark.parametrize("status", ["idle", "error"])
def test_a_question_under_another_status_is_found_in_the_state(status: str) -> None:
    """`idle` after JavaScript's server cancelled, `error` after a resume with null."""
    thread = found(js(status), server={"GET …/state": state({"interrupts": [ASKED]})})
    assert (thread.status, thread.interrupts) == (status, (ASKS,))


def test_a_finished_thread_asks_nothing() -> None:
    thread = found(current("idle"))
    assert (thread.status, thread.interrupts, thread.answered, thread.breakpoint) == ("idle", (), (), False)


def test_a_thread_that_never_ran_asks_nothing() -> None:
    thread = found({"status": "idle", "metadata": None, "state_updated_at": "now"})
    assert (thread.status, thread.interrupts, thread.agent_id) == ("idle", (), None)


def test_a_static_breakpoint_is_an_interrupted_thread_that_asks_nothing() -> None:
    thread = found(js("interrupted"), server={"GET …/state": state({"interrupts": []})})
    assert thread.breakpoint
    assert thread.interrupts == ()


def test_a_busy_thread_shows_what_its_state_asks_rather_than_what_was_asked_before() -> None:
    """The thread goes on listing the question while its answer runs."""
    server = {"GET …/state": state({"interrupts": []}), "GET …/runs?limit=1000": [{**RUN, "status": "running"}]}
    thread = found(current("busy", ASKED), server=server)
    assert (thread.status, thread.interrupts, thread.run_id) == ("busy", (), "r1")


def test_a_thread_that_stayed_busy_behind_a_run_that_is_gone_is_at_rest() -> None:
    server = {"GET …/state": state({"interrupts": [ASKED]}), "GET …/runs?limit=1000": []}
    thread = found(current("busy"), server=server)
    assert (thread.status, thread.interrupts) == ("idle", (ASKS,))


def test_an_answered_question_of_a_step_that_failed_is_not_pending() -> None:
    failed = state({"interrupts": [ASKED], "error": "ValueError('boom')"})
    thread = found(current("error"), server={"GET …/state": failed})
    assert (thread.interrupts, thread.answered, thread.error) == ((), (ASKS,), "ValueError('boom')")


def test_an_older_server_lists_an_answered_question_as_if_it_were_pending() -> None:
    """Recording `failed-answered-again`: in the thread, and in the state with an empty result beside the error."""
    failed = state({"interrupts": [ASKED], "error": "ValueError('boom')", "result": {}}, next=[])
    thread = found(old("error", ASKED), server={"GET …/state": failed})
    assert (thread.interrupts, thread.answered) == ((), (ASKS,))


def test_a_parallel_task_that_has_its_answer_asks_no_more() -> None:
    """Recording `parallel-other-half`."""
    other = {"id": "b" * 32, "value": None}
    both = state({"interrupts": [ASKED], "result": {"a": 1}}, {"interrupts": [other]})
    assert found(js("idle"), server={"GET …/state": both}).interrupts == (Interrupt("b" * 32),)


def test_the_last_lookup_does_not_ask_who_runs() -> None:
    asked, _ = look(LG, {"GET …": js("interrupted", ASKED)}, agent=False, agent_id="somebody")
    assert asked == ["GET …"]


@pytest.mark.parametrize(
    ("refusal", "code"),
    [
        (answer({"detail": "Thread not found"}, 404), "thread_not_found"),
        (answer("Thread not found", 404), "thread_not_found"),
        (answer({"detail": "bad token"}, 401), "unauthorized"),
        (answer("Internal Server Error", 500), "upstream_error"),
        (answer("<html>"), "upstream_unrecognised"),
    ],
)
def test_a_thread_that_is_not_shown_is_refused(refusal: Response, code: str) -> None:
    assert refused(LG, {"GET …": refusal}).code == code


def test_a_thread_without_a_status_is_not_recognised() -> None:
    assert refused(LG, {"GET …": {"thread_id": "t"}}).code == "upstream_unrecognised"


# The agent


UUID = "6bbbf146-21ad-5f8f-9669-f883eab95006"


@pytest.mark.parametrize(
    ("agent_id", "request_", "answered"),
    [(UUID, f"GET /assistants/{UUID}", GRAPH), ("ask", "POST /assistants/search", [GRAPH])],
)
def test_an_agent_is_looked_up_beside_the_thread(agent_id: str, request_: str, answered: Any) -> None:
    asked, thread = look(LG, {"GET …": current("interrupted", ASKED), request_: answered}, agent_id=agent_id)
    assert asked == [f"GET … + {request_}"]
    assert thread.agent_id == "an-assistant"


@pytest.mark.parametrize(
    ("agent_id", "request_", "answered"),
    [
        (UUID, f"GET /assistants/{UUID}", answer("No assistant found", 404)),
        (UUID, f"GET /assistants/{UUID}", answer({"detail": "Invalid assistant"}, 422)),
        ("nobody", "POST /assistants/search", []),
    ],
)
def test_an_unknown_agent_is_404(agent_id: str, request_: str, answered: Any) -> None:
    server = {"GET …": current("interrupted", ASKED), request_: answered}
    assert refused(LG, server, agent_id=agent_id).code == "agent_not_found"


def test_an_agent_of_another_graph_is_refused_since_it_would_lose_the_question() -> None:
    server = {
        "GET …": current("interrupted", ASKED),
        "POST /assistants/search": [{**GRAPH, "graph_id": "two"}],
        "GET …/state": state({"interrupts": [ASKED]}),
    }
    error = refused(LG, server, agent_id="two")
    assert (error.code, error.metadata) == ("invalid_request", {"field": "agent_id"})


def test_metadata_that_a_client_overwrote_does_not_make_an_agent_a_stranger() -> None:
    thread = old("interrupted", ASKED, metadata={"graph_id": "overwritten"})
    server = {"POST /assistants/search": [GRAPH], "GET …/state": state({"interrupts": [ASKED]})}
    assert found(thread, server=server, agent_id="ask").agent_id == "an-assistant"


# The answer


def check(value: Any, thread: dict[str, Any], id_: str | None = ID) -> None:
    LG.check(resume(), found(thread), Input({id_: value}))


@pytest.mark.parametrize("value", [None, {}, {"f" * 32: 1}, 2**64 - 1, -(2**63), 1.5, True, ["é", {"a": None}]])
def test_every_value_is_carried_when_it_is_keyed_by_id(value: Any) -> None:
    check(value, current("interrupted", ASKED))


@pytest.mark.parametrize("value", [None, {}, {"f" * 32: 1}])
def test_a_question_without_an_id_cannot_carry_what_the_server_takes_for_something_else(value: Any) -> None:
    with pytest.raises(UnsupportedInput, match="wrap the answer"):
        check(value, current("interrupted", ASKED), None)


@pytest.mark.parametrize("value", ["yes", 0, [], {"f" * 32: 1, "a": 2}, {"F" * 32: 1}])
def test_a_question_without_an_id_carries_the_rest(value: Any) -> None:
    check(value, current("interrupted", ASKED), None)


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
    LG.check(resume(), found(js("interrupted", ASKED)), GoOn())


def body(verdict: Input | GoOn = GIVEN, mode: Mode = Mode.WAIT, **fields: Any) -> Any:
    return LG.resume(resume(mode, **fields), Found("interrupted", agent_id="agent"), verdict).json


def test_the_answer_goes_keyed_by_id_and_a_second_run_is_rejected() -> None:
    assert body() == {
        "assistant_id": "agent",
        "command": {"resume": {ID: "yes"}},
        "multitask_strategy": "reject",
        "on_disconnect": "cancel",
    }


def test_a_question_without_an_id_gets_the_bare_answer() -> None:
    assert body(Input({None: {"a": 1}}))["command"] == {"resume": {"a": 1}}


def test_a_breakpoint_goes_on_with_input_null() -> None:
    sent = body(GoOn())
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
    request = LG.resume(resume(mode), Found("interrupted", agent_id="agent"), GoOn())
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


def test_no_preparation_is_needed() -> None:
    thread = Found("error", (ASKS,))
    assert follow(LG.prepare(resume(), thread, GoOn()), {}) == ([], (thread, GoOn()))


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


def started(mode: Mode, raw: bytes, head: Response = NAMELESS) -> Started | None:
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
    run = started(Mode.BACKGROUND, answer({**RUN, "status": word, "metadata": {"a": 1}, "kwargs": {}}).body)
    assert run is not None
    assert (run.run_id, run.agent_id, run.created_at, run.status) == ("r1", "the-last", RUN["created_at"], status)
    assert run.metadata == {"a": 1}


@pytest.mark.parametrize("raw", [b"", b"[]", b"{}", b'{"run_id": null}'])
def test_a_background_answer_that_is_no_run_is_unrecognised(raw: bytes) -> None:
    with pytest.raises(UpstreamUnrecognised):
        started(Mode.BACKGROUND, raw)


def test_the_run_is_read_cancelled_and_found_below_its_thread() -> None:
    run, path = Started("r1"), f"/threads/{THREAD}/runs/r1"
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


def test_its_stream_is_relayed() -> None:
    assert type(LG).reframer is Dialect.reframer
