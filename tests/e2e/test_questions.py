"""Questions as a person sees them, on LangGraph's servers: every choice gives an answer that the agent receives."""

from __future__ import annotations

from typing import Any

import pytest

from ap_resume_shim.core.interrupt import Interrupt
from ap_resume_shim.core.protocol import Mode
from ap_resume_shim.core.questions import Question, describe
from tests.support.choosing import Choice, answer_of, choices_in
from tests.support.world import World

pytestmark = pytest.mark.placed("sidecar")

INBOX = {
    "action_request": {"action": "send_email", "args": {"to": "a@example.org"}},
    "config": {"allow_ignore": True, "allow_respond": True, "allow_edit": True, "allow_accept": True},
    "description": "Send this?",
}
SAID = {
    "approve": "sent to a@example.org",
    "edit": "sent to a@example.org",
    "reject": "because",
    "respond": "because",
}
"""What the tool's message contains after a decision about the email."""


def described(world: World, thread: str) -> dict[str, Question]:
    """The questions of a thread, by id."""
    state = world.client.get(f"/threads/{thread}/state").raise_for_status().json()
    items = [item for task in state["tasks"] for item in task["interrupts"]]
    return {i["id"]: describe(Interrupt(i["id"], i["value"], i.get("response_schema"))) for i in items}


@pytest.mark.on("langgraph", "aegra")
@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("Your name?", "text"),
        ({"question": "Go on?", "n": 3}, "any"),
        (INBOX, "tool_approval"),
        ([INBOX], "tool_approval"),
    ],
    ids=["text", "any", "inbox", "inbox in a list"],
)
def test_every_choice_gives_an_answer_that_the_agent_receives(world: World, value: Any, kind: str) -> None:
    choose_each(world, {"value": value}, kind)


@pytest.mark.on("langgraph")
@pytest.mark.parametrize(
    ("schema", "kind"),
    [
        ({"type": "boolean"}, "confirm"),
        ({"enum": ["red", "blue"]}, "choice"),
        ({"type": "array", "items": {"enum": ["a", "b"]}}, "choice"),
        ({"properties": {"n": {"type": "integer"}, "colour": {"enum": ["red", "blue"]}}, "required": ["n"]}, "form"),
    ],
    ids=["confirm", "choice", "choices", "form"],
)
def test_every_choice_fits_the_schema_of_the_question(world: World, schema: Any, kind: str) -> None:
    choose_each(world, {"value": {"question": "Which?"}, "schema": schema}, kind)


def choose_each(world: World, asked: dict[str, Any], kind: str) -> None:
    """Ask a question once for each choice that it has, and choose."""
    (question,) = described(world, world.driver.start("asked", asked)).values()
    assert question.kind == kind
    for choice in choices_in(question, {"a": 1} if kind == "any" else "Ann"):
        thread = world.driver.start("asked", asked)
        answer = answer_of(question, choice)
        outcome = world.resume(Mode.WAIT, thread, input=answer)
        assert outcome.status == 200, (choice, outcome.text)
        assert world.values(thread)["got"] == answer


@pytest.mark.on("langgraph", "aegra")
@pytest.mark.parametrize("agent", ["batched", "per_call"])
def test_every_decision_about_a_tool_call_is_carried_out(world: World, agent: str) -> None:
    asked: dict[str, Any] = {"messages": [{"role": "user", "content": "go"}]}
    for decision, said in SAID.items():
        thread = world.driver.start(agent, asked)
        questions = described(world, thread)
        emails = [action for question in questions.values() for action in question.actions if action.name != "pay"]
        if not all(decision in action.decisions for action in emails):  # Aegra does not show what is allowed
            continue
        answers = {id_: answer_of(question, choice_of(question, decision)) for id_, question in questions.items()}
        whole = answers if len(answers) > 1 else next(iter(answers.values()))
        outcome = world.resume(Mode.WAIT, thread, input=whole)
        assert outcome.status == 200, (decision, outcome.text)
        messages = world.client.get(f"/threads/{thread}/state").json()["values"]["messages"]
        email, paid = [str(message["content"]) for message in messages if message["type"] == "tool"]
        assert said in email
        assert paid == "paid 5"


def choice_of(question: Question, decision: str) -> Choice:
    """The decision about the email; a payment is approved."""
    names = ["approve" if action.name == "pay" else decision for action in question.actions]
    placeholders = [{"args": action.args, "message": "because"} for action in question.actions]
    return {"decisions": [list(pair) for pair in zip(names, placeholders, strict=True)]}
