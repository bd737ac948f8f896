"""What Mastra's workflows and agents share: refusals, errors, and what an answer may be."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol, TypeVar

from ap_resume_shim.core import strictjson
from ap_resume_shim.core.dialect import Answers, C, Decision, Found
from ap_resume_shim.core.dialect_helpers import Rule, read_lookup, read_refusal
from ap_resume_shim.core.errors import MultipleInterrupts, ResumeError
from ap_resume_shim.core.http import Response
from ap_resume_shim.core.interrupt import Interrupt
from ap_resume_shim.core.json_schema import Strictness
from ap_resume_shim.core.json_values import SAFE, Carries

ENFORCED = Strictness(scalar_types=True, bounds=True, extra_properties=True)
"""What the server refuses of an answer: it would not be heard by its step, and an agent's tool would not run again. A
key that an object's schema does not know is dropped on its way to the step."""
CARRIES = Carries("A Mastra server", SAFE)
"""A JavaScript server reads every number as a double."""
PREFIX = "where the server's API is; by default /api"
"""The option `prefix`."""

_NOT_WAITING = (
    "was not suspended",
    "is not suspended",
    "could not find a suspended run",
    "could not find an active or suspended run",
    "already resumed by another caller",
)
_RULES = (
    *(Rule(status, "thread_not_interrupted", text) for status in (409, 500) for text in _NOT_WAITING),
    Rule(404, "agent_not_found", "workflow not found"),
    Rule(404, "agent_not_found", "agent with id"),
)


def prefix(option: str) -> str:
    """The option, as the beginning of a path."""
    path = option.strip("/")
    return f"/{path}" if path else ""


def refusal(response: Response) -> ResumeError:
    """What an error means: a run that does not wait is 500 there, with a text that tells."""
    return read_refusal(response, _RULES)


def read(response: Response) -> Any:
    """The JSON of a lookup."""
    return read_lookup(response, _RULES)


def in_band(text: str) -> ResumeError:
    """The same text in a stream, which has no status: an answer that its schema refuses would have been 400."""
    status = 400 if text.startswith("Invalid resume data") else 500
    return refusal(Response(status, (), strictjson.dumps({"error": text})))


def plain(value: Any) -> Any:
    """The value without the stack traces of the errors in it, which stay on the server."""
    if isinstance(value, list):
        return [plain(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {key: plain(item) for key, item in value.items() if key != "stack" or "message" not in value}


def answers(verdict: Decision) -> dict[str | None, Any]:
    """By interrupt. There is nothing to go on with without one: the server has no breakpoints that others pass."""
    return verdict.by_id if isinstance(verdict, Answers) else {}


def one(verdict: Decision, found: Found[C]) -> Any:
    """The answer: the server takes one with each request."""
    given = answers(verdict)
    if len(given) != 1:
        raise MultipleInterrupts("Mastra takes the answers one at a time: name one interrupt.", found.interrupts)
    (answer,) = given.values()
    return answer


class Asks(Protocol):
    """A question of a workflow's or an agent's."""

    @property
    def interrupt(self) -> Interrupt:
        """As the client sees it."""


Q = TypeVar("Q", bound=Asks)


def answered(questions: Iterable[Q], verdict: Decision) -> Q:
    """The question that is answered."""
    return next(question for question in questions if question.interrupt.id in answers(verdict))
