"""AG-UI on the wire: requests that start runs, questions, and the three formats of an answer.

The facts come from recordings of the adapters; `docs/backends/ag-ui.md` has the table.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

from ap_resume_shim.core import strictjson
from ap_resume_shim.core.errors import MultipleInterrupts, UnsupportedInput
from ap_resume_shim.core.interrupt import Interrupt
from ap_resume_shim.core.json_schema import Strictness
from ap_resume_shim.core.json_values import is_hex32
from ap_resume_shim.core.typed_answers import check_answer

Way = Literal["entries", "map", "command"]
"""The format of an answer: an entry in `resume`; a value in `command.resume`, by LangGraph's ids; or the bare answer as
`command.resume`, for a question without an id."""

ENFORCED = Strictness(scalar_types=True)
"""The parts of a schema that the adapters of Strands and Agent Framework enforce; LangGraph's ignores schemas."""
QUESTION_BYTES = 16 * 1024
"""Maximum size of all questions of a thread as JSON, in bytes. The ledger stores no contents of larger ones."""


@dataclass(frozen=True, slots=True)
class AgUiQuestion:
    """A question, as the ledger stores it."""

    id: str | None
    value: Any
    way: Way
    texts: int = 0
    """How many times the adapter parses a text answer as JSON before the agent receives it."""
    keeps_history: bool = True
    """True if the server stores the conversation; otherwise a resume has to send it."""
    schema: Any = None
    """JSON schema of the answer."""
    expires_at: str | None = None

    @classmethod
    def read(cls, facts: Any, value: Any, schema: Any) -> Self | None:
        """Read a question from the ledger; None if the entry is unreadable."""
        match facts:
            case {
                "id": str() | None as id_,
                "way": "entries" | "map" | "command" as way,
                "texts": int(texts),
                "keeps_history": bool(keeps_history),
            }:
                expires_at = facts.get("expires_at")
                expires_at = expires_at if isinstance(expires_at, str) else None
                return cls(id_, value, way, texts, keeps_history, schema, expires_at)
        return None

    @property
    def facts(self) -> dict[str, Any]:
        """The question's facts for the ledger, without its contents."""
        facts = {"id": self.id, "way": self.way, "texts": self.texts, "keeps_history": self.keeps_history}
        return facts if self.expires_at is None else {**facts, "expires_at": self.expires_at}

    @property
    def is_approval(self) -> bool:
        """True if the question is Agent Framework's request to approve a tool call."""
        return not self.keeps_history

    @property
    def interrupt(self) -> Interrupt:
        """The question as an `Interrupt`."""
        return Interrupt(self.id, self.value, self.schema, self.expires_at)


def pending_questions(customs: Iterable[Mapping[str, Any]], finished: Mapping[str, Any]) -> tuple[AgUiQuestion, ...]:
    """Return the questions at which a run stopped: from its outcome, or else from its `on_interrupt` events."""
    outcome = finished.get("outcome")
    entries = outcome.get("interrupts") if isinstance(outcome, dict) else None
    from_events = [_from_event(event) for event in customs]
    if not isinstance(entries, list) or not entries:
        return _bounded(tuple(from_events))
    schemas = {question.id: question.schema for question in from_events}  # only LangGraph's events have its schemas
    return _bounded(tuple(_from_entry(entry, schemas) for entry in entries if isinstance(entry, dict)))


def _from_entry(entry: dict[str, Any], schemas: Mapping[str | None, Any]) -> AgUiQuestion:
    """Read an entry of the outcome.

    LangGraph's adapter accepts neither several entries in `resume` nor null; `command.resume` by its ids carries both.
    """
    typed = _typed(entry)
    metadata = entry.get("metadata")
    about: dict[str, Any] = metadata if isinstance(metadata, dict) else {}
    langgraph, framework = about.get("langgraph"), about.get("agent_framework")
    if isinstance(langgraph, dict) and is_hex32(entry.get("id")):
        if typed["schema"] is None:
            typed["schema"] = schemas.get(entry["id"])
        return AgUiQuestion(entry["id"], langgraph.get("raw"), "map", **typed)
    value = {name: item for name, item in entry.items() if name != "id"}
    if not isinstance(framework, dict):
        return AgUiQuestion(entry.get("id"), value, "entries", **typed)
    # The adapter parses a text as JSON when the request arrives, and again unless the question takes text.
    texts = 1 if framework.get("response_type") == "str" else 2
    keeps_history = framework.get("type") != "function_approval_request"
    return AgUiQuestion(entry.get("id"), value, "entries", texts, keeps_history, **typed)


def _typed(entry: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of the answer, and the time at which the question expires."""
    schema, expires_at = entry.get("responseSchema"), entry.get("expiresAt")
    return {
        "schema": schema if isinstance(schema, dict) else None,
        "expires_at": expires_at if isinstance(expires_at, str) else None,
    }


def _from_event(event: Mapping[str, Any]) -> AgUiQuestion:
    """Read an `on_interrupt` event.

    The event itself has no id; the Python and the JavaScript adapter add LangGraph's interrupt as `rawEvent`.
    """
    raw = event.get("rawEvent")
    if not isinstance(raw, dict):
        raw = {}
    value = raw["value"] if "value" in raw else _parsed(event.get("value"))
    schema = raw.get("response_schema")
    schema = schema if isinstance(schema, dict) else None
    if is_hex32(raw.get("id")):
        return AgUiQuestion(raw["id"], value, "map", schema=schema)
    return AgUiQuestion(None, value, "command", schema=schema)


def _parsed(value: Any) -> Any:
    """Parse a text as JSON, since the adapter sends other values as JSON text; return it unchanged if that fails."""
    if not isinstance(value, str):
        return value
    try:
        return strictjson.read(value)
    except ValueError:
        return value


def _bounded(questions: tuple[AgUiQuestion, ...]) -> tuple[AgUiQuestion, ...]:
    """Return the questions, without their contents if these are larger than `QUESTION_BYTES`."""
    if len(strictjson.dumps([(question.value, question.schema) for question in questions])) <= QUESTION_BYTES:
        return questions
    return tuple(replace(question, value=None, schema=None) for question in questions)


def error_of(event: dict[str, Any]) -> dict[str, Any]:
    """Return the code and the message of a RUN_ERROR event."""
    return {name: event[name] for name in ("code", "message") if event.get(name) is not None}


def refuses(event: Mapping[str, Any]) -> bool:
    """True if a RUN_ERROR without earlier events means that the server refused the run.

    Agent Framework sends such an event for a model that fails at once, too; it has a fixed message.
    """
    return event.get("message") != "An internal error has occurred while streaming events."


def answers_of(body: Mapping[str, Any]) -> tuple[bool, list[str] | None]:
    """Return whether a run's request resumes, and the ids of the questions that it answers; None for the only one."""
    entries = body.get("resume")
    if isinstance(entries, list) and entries:
        return True, [str(entry.get("interruptId", "")) for entry in entries if isinstance(entry, dict)]
    props = body.get("forwardedProps") or body.get("forwarded_props")
    command = props.get("command") if isinstance(props, dict) else None
    answer = command.get("resume") if isinstance(command, dict) else None
    if isinstance(answer, dict) and all(map(is_hex32, answer)):
        return True, list(answer)
    return answer is not None, None


def takes_all(pending: Iterable[AgUiQuestion]) -> bool:
    """True if the server accepts only the answers to all of these questions at once."""
    return any(question.way == "entries" for question in pending)


def check_answers(pending: tuple[AgUiQuestion, ...], by_id: Mapping[str | None, Any]) -> None:
    """Refuse answers that the adapter would reject, lose or change.

    Raises `MultipleInterrupts`, `UnsupportedInput` or `InvalidAnswer`.
    """
    if len(by_id) < len(pending) and takes_all(pending):
        raise MultipleInterrupts(
            f"{len(pending)} interrupts are pending, and this server accepts only the answers to all of them at once: "
            "send `input` as an object {interrupt id: answer} with all of these ids.",
            [question.interrupt for question in pending],
        )
    for question in pending:
        if question.id in by_id:
            _check_answer(question, by_id[question.id])
    decisions = [_approves(by_id[question.id]) for question in pending if question.id in by_id and question.is_approval]
    if len(set(decisions)) > 1:
        raise MultipleInterrupts(
            "This server loses a mix of approvals and rejections (agent-framework-ag-ui 1.7.0): approve "
            "all of these, or reject all.",
            [question.interrupt for question in pending],
        )


def _approves(answer: Any) -> bool:
    """Return the decision on a tool call; `accepted` is the older name of `approved`."""
    return isinstance(answer, dict) and answer.get("approved", answer.get("accepted")) is True


def _check_answer(question: AgUiQuestion, answer: Any) -> None:
    if question.way == "command" and _is_no_bare_answer(answer):
        raise UnsupportedInput(
            "This interrupt has no id, and without one the server treats null, {} and objects keyed by 32 "
            "hexadecimal digits as something other than an answer: wrap the answer in an object."
        )
    if question.texts and answer is None:
        raise UnsupportedInput(
            "Microsoft's Agent Framework drops null from a request, and the agent receives {} or nothing: wrap the "
            "answer in an object, if the question accepts one."
        )
    if question.way == "entries":
        check_answer(question.interrupt, answer, ENFORCED)


def _is_no_bare_answer(answer: Any) -> bool:
    return answer is None or (isinstance(answer, dict) and all(map(is_hex32, answer)))


def answer_fields(pending: tuple[AgUiQuestion, ...], by_id: Mapping[str | None, Any]) -> dict[str, Any]:
    """Return the fields of a run's request that carry the answers. The caller merges `forwardedProps`."""
    answered = [question for question in pending if question.id in by_id]
    if answered[0].way == "entries":
        return {"resume": [_entry(question, by_id[question.id]) for question in answered]}
    if answered[0].way == "map":
        return {"forwardedProps": {"command": {"resume": dict(by_id)}}}
    return {"forwardedProps": {"command": {"resume": _text(by_id[None], 1)}}}


NO_ANSWER: dict[str, Any] = {"forwardedProps": {"command": {"resume": {}}}}
"""Makes LangGraph continue with the answers that it has: the map of ids is empty."""


def _entry(question: AgUiQuestion, answer: Any) -> dict[str, Any]:
    return {"interruptId": question.id, "status": "resolved", "payload": _text(answer, question.texts)}


def _text(answer: Any, times: int) -> Any:
    """Encode a text as JSON `times` times, for an adapter that parses it as often; return other values unchanged."""
    if isinstance(answer, str):
        for _ in range(times):
            answer = json.dumps(answer, ensure_ascii=False)
    return answer
