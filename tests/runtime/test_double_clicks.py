"""One click that reaches the shim twice, in two conventions, one of which names its question and one of which does not.

The server is as fast as can be: it asks its next question before it responds.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from ap_resume_shim import MemoryGuard, ResumeShim
from tests.support.agent import read, reply
from tests.support.calling import Call, http

pytestmark = pytest.mark.anyio


class Aegra:
    """Asks one question after the other."""

    def __init__(self) -> None:
        self.answers = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path, _ = scope["path"], await read(receive)
        if scope["method"] == "POST":
            self.answers += 1
            await reply(send, {"type": "success", "run_id": f"r{self.answers}", "status": "pending"})
        elif path.endswith("/state"):
            await reply(send, {"tasks": [{"id": "1", "interrupts": [{"id": question(self.answers), "value": "?"}]}]})
        elif path.endswith("/runs"):
            await reply(send, [{"run_id": f"r{self.answers}", "assistant_id": "a", "status": "interrupted"}])
        else:
            await reply(send, {"status": "interrupted"})


def question(number: int) -> str:
    return f"{number:032x}"


def draft(**body: Any) -> tuple[str, str, Any]:
    return "PATCH", "/runs/resume", {"thread_id": "t", **body}


def respond(name: int, value: Any) -> tuple[str, str, Any]:
    params = {"interrupt_id": question(name), "response": value}
    return "POST", "/threads/t/commands", {"id": 1, "method": "input.respond", "params": params}


def create(resume: Any) -> tuple[str, str, Any]:
    return "POST", "/threads/t/runs", {"assistant_id": "a", "command": {"resume": resume}}


NAMED = {
    "input.respond": respond(0, "yes"),
    "several": ("POST", "/threads/t/commands", {"id": 1, "method": "input.respond", "params": {
        "responses": [{"interrupt_id": question(0), "response": "yes"}]}}),
    "keyed v1": create({question(0): "yes"}),
    "pinned": draft(input="yes", interrupt_id=question(0)),
    "keyed": draft(input={question(0): "yes"}),
}  # fmt: skip
UNNAMED = {"draft": draft(input="yes"), "v1": create("yes")}


async def answers(*requests: tuple[str, str, Any]) -> int:
    """How many of these answers of one caller the server received."""
    app = ResumeShim(server := Aegra(), "aegra", vendor_resumes="guard", guard=MemoryGuard())
    for method, path, body in requests:
        await Call(json.dumps(body).encode())(app, http(method, path))
    return server.answers


@pytest.mark.parametrize("second", UNNAMED)
@pytest.mark.parametrize("first", NAMED)
async def test_a_click_that_names_its_question_and_then_does_not_is_one_answer(first: str, second: str) -> None:
    assert await answers(NAMED[first], UNNAMED[second]) == 1
    assert await answers(UNNAMED[second], NAMED[first]) == 1, "the question that it names is no longer asked"


@pytest.mark.parametrize(
    "second",
    [
        respond(1, "yes"),
        create({question(1): "yes"}),
        draft(input="yes", interrupt_id=question(1)),
        draft(input="no"),
        create("no"),
    ],
)
@pytest.mark.parametrize("first", [*NAMED.values(), *UNNAMED.values()])
async def test_an_answer_to_the_next_question_passes(first: Any, second: Any) -> None:
    assert await answers(first, second) == 2
