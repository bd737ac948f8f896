"""LangGraph's family alone: states that were edited, questions of every kind, agents, and fields that redirect."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from ap_resume_shim.core.protocol import Mode
from tests.e2e.placements import GRAPHS
from tests.e2e.test_verdicts import pending, refused
from tests.support.waiting import eventually
from tests.support.world import World

pytestmark = pytest.mark.on(*GRAPHS)

on_the_row = pytest.mark.on("langgraph", "langgraph-old", "langgraph-js")
"""The servers that keep a row with the thread's questions."""
typed = pytest.mark.on("langgraph", "langgraph-js")
"""The servers whose questions carry a schema."""
langchain = pytest.mark.on("langgraph", "aegra")
"""The servers of these tests that have LangChain's middleware."""


def new() -> str:
    """A tag for graphs that behave differently the first time."""
    return str(uuid.uuid4())


def heard(world: World, mode: Mode, thread: str, **body: Any) -> None:
    """A resume that is accepted."""
    outcome = world.resume(mode, thread, **body)
    assert outcome.status == 200, outcome.text


def state(world: World, thread: str) -> dict[str, Any]:
    value: dict[str, Any] = world.client.get(f"/threads/{thread}/state?subgraphs=true").raise_for_status().json()
    return value


def edit(world: World, thread: str, values: dict[str, Any], **fields: Any) -> None:
    """A state update, as Studio and other clients make it."""
    world.client.post(f"/threads/{thread}/state", json={"values": values, **fields}).raise_for_status()


def vendor_resume(world: World, thread: str, agent: str, value: Any, **fields: Any) -> None:
    """An answer that goes past the shim's routes."""
    body = {"assistant_id": agent, "command": {"resume": value}, **fields}
    world.client.post(f"/threads/{thread}/runs/wait", json=body).raise_for_status()
    eventually(lambda: world.driver.status(thread) != "busy", "the thread settles")


# States that were edited


@pytest.mark.parametrize(
    ("fields", "question"),
    [
        ({"values": {"topic": "dinner"}}, "approve dinner?"),
        ({"values": {"answer": "E"}, "as_node": "approve"}, "really"),
    ],
    ids=["in place", "past the question"],
)
def test_an_answer_to_a_question_that_was_edited_away_is_not_lost(
    world: World, mode: Mode, fields: Any, question: str
) -> None:
    thread = world.thread("two")
    edit(world, thread, **fields)
    outcome = world.resume(mode, thread, input="lost?")
    refused(world, thread, outcome, 422, "unsupported_input")
    assert "edited" in outcome.text

    heard(world, mode, thread)
    (task,) = state(world, thread)["tasks"]
    assert question in task["interrupts"][0]["value"]["question"]
    heard(world, mode, thread, input="heard")
    assert "heard" in str(world.values(thread)["answer"])


def test_a_state_that_was_edited_to_its_end_has_nothing_to_answer(world: World, mode: Mode) -> None:
    thread = world.thread("ask")
    edit(world, thread, {"answer": "E"}, as_node="approve")
    refused(world, thread, world.resume(mode, thread, input="yes"), 409, "thread_not_interrupted")


def test_an_answer_to_an_edited_subgraph_is_not_lost(world: World, mode: Mode) -> None:
    thread = world.thread("sub")
    inner = state(world, thread)["tasks"][0]["state"]["checkpoint"]
    edit(world, thread, {"topic": "dinner"}, checkpoint={k: v for k, v in inner.items() if k != "thread_id" and v})
    refused(world, thread, world.resume(mode, thread, input="lost?"), 422, "unsupported_input")
    heard(world, mode, thread)
    heard(world, mode, thread, input="heard")
    values = world.values(thread)
    assert (values["topic"], values["answer"], values["runs"]) == ("dinner", "heard", 1)


@on_the_row
def test_a_question_whose_run_was_deleted_cannot_be_answered(world: World, mode: Mode) -> None:
    thread = world.thread("ask")
    (run,) = world.driver.runs(thread)
    world.client.delete(f"/threads/{thread}/runs/{run['run_id']}").raise_for_status()
    refused(world, thread, world.resume(mode, thread, input="yes"), 409, "thread_not_interrupted")


def test_a_question_that_a_goto_asked_beside_another_is_answered(world: World, mode: Mode) -> None:
    """Somebody else's `command.goto`. Aegra shows the first question alone."""
    thread = world.thread("two")
    body = {"assistant_id": "two", "command": {"goto": "confirm"}}
    world.client.post(f"/threads/{thread}/runs/wait", json=body).raise_for_status()
    eventually(lambda: world.driver.status(thread) != "busy", "the thread settles")
    if world.driver.name == "aegra":
        heard(world, mode, thread, input="A")
        assert world.values(thread)["answer"] == "A"
        return
    first, second = pending(world, thread)
    heard(world, mode, thread, input={second: "B"})
    outcome = world.resume(mode, thread, input={second: "B"})
    assert (outcome.status, outcome.code) == (409, "interrupt_not_pending"), outcome.text
    if world.driver.name != "langgraph-js":  # which answers 500 to whoever reads the state that comes of it
        heard(world, mode, thread, input={first: "A"})


# Steps that failed


def test_a_rejection_does_not_run_the_step_again_that_failed_after_its_approval(world: World, mode: Mode) -> None:
    thread = world.thread("half")
    a, b = pending(world, thread)
    heard(world, mode, thread, input={a: "A", b: "approve"})
    outcome = world.resume(mode, thread, input="REJECT")
    refused(world, thread, outcome, 409, "interrupt_already_answered", runs_before=2)
    assert "REJECT" not in str(state(world, thread))


def test_a_step_that_failed_beside_an_answered_question_is_retried(world: World, mode: Mode) -> None:
    thread = world.driver.start("beside", {"tag": new()})
    first = world.resume(mode, thread, input="A")
    if world.driver.name == "aegra":  # which takes no answer while a step beside the question fails
        assert (first.status, first.code) == (502, "upstream_error"), first.text
        assert first.metadata["resume_state"] == "not_sent"
        return
    outcome = world.resume(mode, thread, input="B")
    refused(world, thread, outcome, 409, "interrupt_already_answered", runs_before=2)
    heard(world, mode, thread)
    assert world.values(thread)["answers"] == ["A", "worked"]


def test_the_way_out_of_a_step_that_fails_because_of_its_answer(world: World, mode: Mode) -> None:
    """As the message says: a state update as the node before, go on, answer the question that is asked then."""
    thread = world.thread("errask")
    world.resume(mode, thread, input="bad")
    outcome = world.resume(mode, thread, input="good")
    refused(world, thread, outcome, 409, "interrupt_already_answered", runs_before=2)
    assert "as_node" in outcome.text
    edit(world, thread, {}, as_node="__start__")
    heard(world, mode, thread)
    heard(world, mode, thread, input="good")
    (task,) = state(world, thread)["tasks"]
    assert "good" in task["error"]


# Questions that no answer can reach


@pytest.mark.parametrize("agent", ["noid", "byhand"])
def test_an_answer_to_a_question_without_a_usable_id_is_not_used_for_the_next_one(
    world: World, mode: Mode, agent: str
) -> None:
    thread = world.driver.start(agent, {"tag": new()})
    outcome = world.resume(mode, thread, input="for the first")
    refused(world, thread, outcome, 422, "unsupported_input")
    assert "usable id" in outcome.text
    heard(world, mode, thread)
    heard(world, mode, thread, input="for the second")
    assert world.values(thread)["answers"] == ["for the second"]


def test_two_questions_without_ids_are_no_dead_end(world: World, mode: Mode) -> None:
    thread = world.driver.start("noids", {"tag": new()})
    refused(world, thread, world.resume(mode, thread, input="which?"), 422, "unsupported_input")
    heard(world, mode, thread)
    assert sorted(world.values(thread)["answers"]) == ["left", "right"]


# Fields that redirect


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("checkpoint_id", "1f1ec032-201c-6144-8000-0eda6b138afe"),
        ("thread_id", "6a1b2c3d-0000-4000-8000-000000000000"),
        ("checkpoint_ns", "inner:1"),
        ("checkpoint_map", {"": "1f1ec032-201c-6144-8000-0eda6b138afe"}),
        ("__pregel_resuming", True),
    ],
)
def test_a_field_that_would_move_the_resume_elsewhere_is_refused(
    world: World, mode: Mode, name: str, value: Any
) -> None:
    thread = world.thread("ask")
    outcome = world.resume(mode, thread, input="yes", config={"configurable": {name: value}})
    refused(world, thread, outcome, 422, "unsupported_field")
    heard(world, mode, thread, input="yes")
    assert world.values(thread)["runs"] == 1


def test_the_checkpoint_of_an_earlier_question_does_not_fork_the_thread(world: World, mode: Mode) -> None:
    thread = world.thread("two")
    earlier = state(world, thread)["checkpoint"]["checkpoint_id"]
    heard(world, mode, thread, input="A")
    outcome = world.resume(mode, thread, input="B", config={"configurable": {"checkpoint_id": earlier}})
    refused(world, thread, outcome, 422, "unsupported_field", runs_before=2)


def fork(world: World, thread: str, agent: str, checkpoint: Any) -> None:
    """A run from a checkpoint, as Studio starts it."""
    body = {"assistant_id": agent, "input": None, "checkpoint": checkpoint}
    world.client.post(f"/threads/{thread}/runs/wait", json=body).raise_for_status()
    eventually(lambda: world.driver.status(thread) != "busy", "the thread settles")


def test_an_answer_after_a_run_from_an_earlier_checkpoint_reaches_the_question_asked_now(
    world: World, mode: Mode
) -> None:
    """Older servers and JavaScript's keep the checkpoint in the thread's row, and start each later run from it."""
    thread = world.thread("two")
    earlier = state(world, thread)["checkpoint"]
    heard(world, mode, thread, input="A")
    fork(world, thread, "two", earlier)
    expected = ["A", "B"] if state(world, thread)["next"] == ["confirm"] else "B"
    heard(world, mode, thread, input="B")
    assert world.values(thread)["answer"] == expected


@pytest.mark.on("langgraph-old")
def test_a_step_beside_the_question_is_not_run_again_from_the_checkpoint_of_an_earlier_run(
    world: World, mode: Mode
) -> None:
    thread = world.thread("par")
    fork(world, thread, "par", state(world, thread)["checkpoint"])
    first, second = pending(world, thread)
    outcome = world.resume(mode, thread, input={first: "A"})
    refused(world, thread, outcome, 409, "multiple_interrupts", runs_before=2)
    vendor_resume(world, thread, "par", {first: "A"})
    outcome = world.resume(mode, thread, input={second: "B"})
    refused(world, thread, outcome, 422, "unsupported_input", runs_before=3)
    copy = world.client.post(f"/threads/{thread}/copy").raise_for_status().json()["thread_id"]
    heard(world, mode, copy, input={second: "B"})
    assert world.values(copy)["done"] == ["a", "b"]


def test_the_head_of_the_thread_is_no_redirection(world: World, mode: Mode) -> None:
    thread = world.thread("two")
    head = state(world, thread)["checkpoint"]["checkpoint_id"]
    here = {"thread_id": thread, "checkpoint_id": head, "checkpoint_ns": "", "checkpoint_map": {"": head}}
    heard(world, mode, thread, input="A", config={"configurable": here})
    heard(world, mode, thread, input="B")
    assert world.values(thread)["answer"] == ["A", "B"]


# Agents


def assistant(world: World, flavour: str) -> str:
    """A custom assistant of the graph `cfg`, the newest one."""
    body = {"graph_id": "cfg", "config": {"configurable": {"flavour": flavour}}, "name": flavour}
    return str(world.client.post("/assistants", json=body).raise_for_status().json()["assistant_id"])


def test_the_name_of_a_graph_never_means_somebody_elses_assistant(world: World, mode: Mode) -> None:
    thread = world.thread("cfg")
    other = assistant(world, new())
    try:
        heard(world, mode, thread, input="yes", agent_id="cfg")
        assert world.values(thread)["seen"]["configurable"] == {}
    finally:
        world.client.delete(f"/assistants/{other}")


def test_the_name_of_the_threads_graph_means_the_threads_own_assistant(world: World, mode: Mode) -> None:
    flavour = new()
    own, newer = assistant(world, flavour), assistant(world, new())
    try:
        thread = world.thread(own)
        heard(world, mode, thread, input="yes", agent_id="cfg")
        assert world.values(thread)["seen"]["configurable"] == {"flavour": flavour}
        assert {run["assistant_id"] for run in world.driver.runs(thread)} == {own}
    finally:
        for id_ in (own, newer):
            world.client.delete(f"/assistants/{id_}")


# Answers that were cancelled


def test_an_answer_that_was_cancelled_in_mid_step_gives_way_to_the_next_one(world: World, mode: Mode) -> None:
    thread = world.thread("slowask", secs=2)
    run = world.client.patch("/runs/resume", json={"thread_id": thread, "input": "x"}).raise_for_status().json()
    eventually(lambda: world.driver.status(thread) == "busy", "the step runs")
    world.driver.cancel(thread, run["run_id"])
    eventually(lambda: world.driver.status(thread) != "busy", "the run is cancelled")
    heard(world, mode, thread, input="A")
    assert world.values(thread)["answers"] == ["A"]


# Typed questions


@typed
def test_an_answer_that_violates_the_schema_of_its_question_is_refused_and_may_be_corrected(
    world: World, mode: Mode
) -> None:
    thread = world.thread("typed")
    outcome = world.resume(mode, thread, input={"decision": "aprove"})
    refused(world, thread, outcome, 422, "invalid_answer")
    assert outcome.metadata["response_schema"]["type"] == "object"
    heard(world, mode, thread, input={"decision": "pay", "amount": 2})
    assert world.values(thread)["got"] == {"decision": "pay", "amount": 2}


@typed
def test_a_corrected_answer_is_heard_after_the_server_refused_one(world: World, mode: Mode) -> None:
    thread = world.thread("typed")
    for wrong in ({"decision": "no"}, {"decision": "never"}):
        vendor_resume(world, thread, "typed", wrong)
    assert world.driver.status(thread) == "error"
    heard(world, mode, thread, input={"decision": "keep", "amount": 1})
    assert world.values(thread)["got"] == {"decision": "keep", "amount": 1}


@typed
@pytest.mark.parametrize("agent", ["typed", "schema"])
def test_an_answer_that_was_saved_before_the_step_failed_is_not_corrected(world: World, mode: Mode, agent: str) -> None:
    thread = world.thread(agent)
    heard(world, mode, thread, input={"decision": "pay", "amount": 13})
    outcome = world.resume(mode, thread, input={"decision": "pay", "amount": 2})
    refused(world, thread, outcome, 409, "interrupt_already_answered", runs_before=2)


# LangChain's human-in-the-loop middleware


APPROVE = {"type": "approve"}


def reviewed(world: World, agent: str) -> str:
    return world.driver.start(agent, {"messages": [{"role": "user", "content": "go"}]})


def ran(world: World, thread: str) -> list[str]:
    """What the tools said."""
    messages = world.client.get(f"/threads/{thread}/state").json()["values"]["messages"]
    return [str(message["content"]) for message in messages if message["type"] == "tool"]


def editing(name: str, **args: Any) -> dict[str, Any]:
    return {"type": "edit", "edited_action": {"name": name, "args": args}}


@langchain
@pytest.mark.parametrize(
    "decisions",
    [
        [{"type": "aprove"}, APPROVE],
        [APPROVE],
        [editing("delete_file", path="/etc"), APPROVE],
        [APPROVE, editing("pay", amount=1)],
    ],
    ids=["misspelt", "one for two", "another tool", "not allowed"],
)
def test_a_batch_of_decisions_that_would_kill_the_thread_is_refused(world: World, mode: Mode, decisions: Any) -> None:
    thread = reviewed(world, "batched")
    outcome = world.resume(mode, thread, input={"decisions": decisions})
    refused(world, thread, outcome, 422, "invalid_answer")
    edited = editing("send_email", to="b@example.org")
    heard(world, mode, thread, input={"decisions": [edited, APPROVE]})
    first, second = ran(world, thread)
    assert first.endswith("sent to b@example.org")
    assert second == "paid 5"


@langchain
@pytest.mark.parametrize(
    "decision", [{"type": "aprove"}, editing("delete_file", path="/etc"), {"decisions": [APPROVE]}]
)
def test_a_decision_about_one_call_that_would_fail_is_refused(world: World, mode: Mode, decision: Any) -> None:
    thread = reviewed(world, "per_call")
    first, second = sorted(
        (i for task in state(world, thread)["tasks"] for i in task["interrupts"]), key=lambda i: i["value"]["name"]
    )
    outcome = world.resume(mode, thread, input={second["id"]: decision})
    refused(world, thread, outcome, 422, "invalid_answer")
    heard(world, mode, thread, input={first["id"]: APPROVE, second["id"]: APPROVE})
    assert ran(world, thread) == ["sent to a@example.org", "paid 5"]
