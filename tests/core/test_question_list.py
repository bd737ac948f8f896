"""Questions as JSON objects, and the sentences about threads that have none."""

from __future__ import annotations

from typing import Any

import pytest

from ap_resume_shim.core.dialect import Dialect, Found
from ap_resume_shim.core.interrupt import Interrupt
from ap_resume_shim.core.question_list import notes_on, questions_of

ASKS = Interrupt("q", "Go on?", {"type": "boolean"}, "2026-12-01T00:00:00Z", asked_at="2026-11-30T00:00:00Z")

ANY = Dialect[None]()


class AtOnce(Dialect[None]):
    """A dialect of a server that accepts only the answers to all questions of a thread."""

    partial = False


def test_a_question_has_the_request_that_answers_it_below_the_shims_address() -> None:
    (question,) = questions_of("t", Found("interrupted", (ASKS,), agent_id="a", context=None), ANY, base="/api")
    assert (question["thread_id"], question["agent_id"], question["interrupt_id"]) == ("t", "a", "q")
    assert (question["value"], question["response_schema"], question["kind"]) == (
        "Go on?",
        {"type": "boolean"},
        "confirm",
    )
    assert (question["asked_at"], question["expires_at"]) == ("2026-11-30T00:00:00Z", "2026-12-01T00:00:00Z")
    body = {"thread_id": "t", "interrupt_id": "q", "input": question["answer"]}
    assert question["resume"] == {"method": "PATCH", "path": "/api/runs/resume", "body": body}


def test_a_time_in_another_form_is_left_out() -> None:
    (question,) = questions_of("t", Found("interrupted", (Interrupt("q", asked_at=3),), context=None), ANY)  # type: ignore[arg-type]
    assert question["asked_at"] is None


def test_the_answer_to_a_question_without_an_id_pins_nothing() -> None:
    (question,) = questions_of("t", Found("interrupted", (Interrupt(None, "?"),), context=None), ANY)
    assert question["interrupt_id"] is None
    assert "interrupt_id" not in question["resume"]["body"]


def test_questions_that_are_answered_together_have_one_request_with_the_templates_of_all() -> None:
    found = Found("interrupted", (ASKS, Interrupt("r", "Why?")), context=None)
    apart = questions_of("t", found, ANY)
    assert [each["resume"]["body"]["interrupt_id"] for each in apart] == ["q", "r"]
    value = {"$choice": "value"}
    body = {"thread_id": "t", "input": {"q": value, "r": value}}
    assert [each["resume"]["body"] for each in questions_of("t", found, AtOnce())] == [body, body]
    (alone,) = questions_of("t", Found("interrupted", (ASKS,), context=None), AtOnce())
    assert alone["resume"]["body"]["interrupt_id"] == "q"


@pytest.mark.parametrize("status", ["idle", "interrupted", "error"])
def test_a_pending_question_is_shown_whatever_the_status_unless_the_thread_runs(status: Any) -> None:
    assert len(questions_of("t", Found(status, (ASKS,), context=None), ANY)) == 1
    assert questions_of("t", Found("busy", (ASKS,), context=None), ANY) == []


BREAKPOINT = Found("interrupted", breakpoint=True, context=None)
FAILED = Found("error", answered=(ASKS,), context=None)


@pytest.mark.parametrize(
    ("found", "notes"),
    [
        (Found("busy", context=None), ["The thread is running: read it again when it has stopped."]),
        (BREAKPOINT, ["The thread stopped at a breakpoint, which has no question."]),
        (FAILED, ["The thread's question was answered, and the step failed afterwards."]),
        (Found("error", (ASKS,), (ASKS,), context=None), []),
        (Found("idle", context=None), []),
    ],
)
def test_a_thread_that_stopped_without_a_question_has_a_note(found: Found[None], notes: list[str]) -> None:
    assert list(notes_on(found)) == notes


def test_the_time_of_a_question_does_not_distinguish_it_from_the_same_question() -> None:
    assert Interrupt("q", "Go on?", {"type": "boolean"}, "2026-12-01T00:00:00Z") == ASKS
