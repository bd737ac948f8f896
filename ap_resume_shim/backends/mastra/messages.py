"""Shared by Mastra's workflows and agents: refusals, errors and the limits of an answer."""

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
"""The parts of a schema that the server enforces. Its step would not receive an invalid answer, and an agent's tool
would not run again. The server drops keys that an object's schema does not have."""
CARRIES = Carries("A Mastra server", SAFE)
"""A JavaScript server parses every number as a double."""
PREFIX = "path below which the server's API is; default: `/api`"
"""Description of the option `prefix`."""

SHARED = "A Mastra server shows the runs of all users to each of them, unless the app maps its users to resources."
"""The note of a list."""

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
    """Return the option as the start of a path, such as `/api`; the empty string for an empty option."""
    path = option.strip("/")
    return f"/{path}" if path else ""


def refusal(response: Response) -> ResumeError:
    """Return the `ResumeError` for an error response. A run that does not wait is 500, with a text that explains it."""
    return read_refusal(response, _RULES)


def read(response: Response) -> Any:
    """Return the JSON of a lookup's response. Raises a `ResumeError` for an error response."""
    return read_lookup(response, _RULES)


def in_band(text: str) -> ResumeError:
    """Return the `ResumeError` for an error text in a stream; an answer that its schema rejects counts as 400."""
    status = 400 if text.startswith("Invalid resume data") else 500
    return refusal(Response(status, (), strictjson.dumps({"error": text})))


def plain(value: Any) -> Any:
    """Return the value without the stack traces of its errors, which must not reach the client."""
    if isinstance(value, list):
        return [plain(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {key: plain(item) for key, item in value.items() if key != "stack" or "message" not in value}


def answers(verdict: Decision) -> dict[str | None, Any]:
    """Return the answers by interrupt id; empty for `Continue`, since the server has no breakpoints to continue."""
    return verdict.by_id if isinstance(verdict, Answers) else {}


def one(verdict: Decision, found: Found[C]) -> Any:
    """Return the answer. Raises `MultipleInterrupts` unless there is exactly one, as the server requires."""
    by_id = answers(verdict)
    if len(by_id) != 1:
        raise MultipleInterrupts("Mastra accepts one answer at a time: name one interrupt.", found.interrupts)
    (answer,) = by_id.values()
    return answer


class HasInterrupt(Protocol):
    """A question of a workflow or an agent."""

    @property
    def interrupt(self) -> Interrupt:
        """The question as an `Interrupt`."""


Q = TypeVar("Q", bound=HasInterrupt)


def answered(questions: Iterable[Q], verdict: Decision) -> Q:
    """Return the question that is answered."""
    return next(question for question in questions if question.interrupt.id in answers(verdict))
