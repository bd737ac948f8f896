"""AG-UI on the wire: what a run is sent, what its questions carry, and in which of three ways each is answered.

Facts are from the adapters as they ran; `docs/backends/ag-ui.md` has the table.
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
"""How a question is answered: `resume` with an entry for each; `command.resume` by LangGraph's ids; or with the bare
answer, where the question came without an id."""

ENFORCED = Strictness(scalar_types=True)
"""What the adapters of Strands and Agent Framework refuse or convert; LangGraph's looks at no schema."""
QUESTION_BYTES = 16 * 1024
"""Of all questions of a thread together, as JSON: what they say beyond that is not remembered."""


@dataclass(frozen=True, slots=True)
class AgUiQuestion:
    """A question, as the ledger remembers it."""

    id: str | None
    value: Any
    way: Way
    texts: int = 0
    """How many times the adapter reads an answer that is text as JSON, on its way to the agent."""
    keeps_history: bool = True
    """Whether the server keeps the conversation, so that a resume need not bring it along."""
    schema: Any = None
    """Of the answer."""
    expires_at: str | None = None

    @classmethod
    def read(cls, facts: Any, value: Any, schema: Any) -> Self | None:
        """From the ledger; None where it cannot be read."""
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
        """What the ledger keeps of it beside what it says."""
        facts = {"id": self.id, "way": self.way, "texts": self.texts, "keeps_history": self.keeps_history}
        return facts if self.expires_at is None else {**facts, "expires_at": self.expires_at}

    @property
    def is_approval(self) -> bool:
        """Whether it asks for the approval of a tool call, in Agent Framework."""
        return not self.keeps_history

    @property
    def interrupt(self) -> Interrupt:
        """As the flow knows it."""
        return Interrupt(self.id, self.value, self.schema, self.expires_at)


def asked(customs: Iterable[Mapping[str, Any]], finished: Mapping[str, Any]) -> tuple[AgUiQuestion, ...]:
    """The questions at which a run stopped: those of its outcome, else those of its `on_interrupt` events."""
    outcome = finished.get("outcome")
    entries = outcome.get("interrupts") if isinstance(outcome, dict) else None
    of_events = [_of_custom(event) for event in customs]
    if not isinstance(entries, list) or not entries:
        return _fitting(tuple(of_events))
    schemas = {question.id: question.schema for question in of_events}  # LangGraph's own stand in the events alone
    return _fitting(tuple(_of_entry(entry, schemas) for entry in entries if isinstance(entry, dict)))


def _of_entry(entry: dict[str, Any], schemas: Mapping[str | None, Any]) -> AgUiQuestion:
    """LangGraph's adapter takes no entry of `resume` for several questions, nor null: its own ids carry both."""
    typed = _typed(entry)
    metadata = entry.get("metadata")
    about: dict[str, Any] = metadata if isinstance(metadata, dict) else {}
    own, framework = about.get("langgraph"), about.get("agent_framework")
    if isinstance(own, dict) and is_hex32(entry.get("id")):
        if typed["schema"] is None:
            typed["schema"] = schemas.get(entry["id"])
        return AgUiQuestion(entry["id"], own.get("raw"), "map", **typed)
    value = {name: item for name, item in entry.items() if name != "id"}
    if not isinstance(framework, dict):
        return AgUiQuestion(entry.get("id"), value, "entries", **typed)
    # Read as JSON when the request comes, and once more unless the question takes text.
    texts = 1 if framework.get("response_type") == "str" else 2
    keeps_history = framework.get("type") != "function_approval_request"
    return AgUiQuestion(entry.get("id"), value, "entries", texts, keeps_history, **typed)


def _typed(entry: dict[str, Any]) -> dict[str, Any]:
    """The schema of the answer, and the end of the question's time."""
    schema, expires_at = entry.get("responseSchema"), entry.get("expiresAt")
    return {
        "schema": schema if isinstance(schema, dict) else None,
        "expires_at": expires_at if isinstance(expires_at, str) else None,
    }


def _of_custom(event: Mapping[str, Any]) -> AgUiQuestion:
    """The event has no id of its own; the Python and the JavaScript adapter add LangGraph's interrupt as it was."""
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
    """What is not text is sent as JSON text."""
    if not isinstance(value, str):
        return value
    try:
        return strictjson.read(value)
    except ValueError:
        return value


def _fitting(questions: tuple[AgUiQuestion, ...]) -> tuple[AgUiQuestion, ...]:
    """What questions say, as long as all of it has a place in the ledger."""
    if len(strictjson.dumps([(question.value, question.schema) for question in questions])) <= QUESTION_BYTES:
        return questions
    return tuple(replace(question, value=None, schema=None) for question in questions)


def error_of(told: dict[str, Any]) -> dict[str, Any]:
    """What RUN_ERROR says."""
    return {name: told[name] for name in ("code", "message") if told.get(name) is not None}


def refuses(told: Mapping[str, Any]) -> bool:
    """Whether RUN_ERROR, where nothing came of the run before, refuses it. An agent of Agent Framework whose model
    fails at once says nothing before either."""
    return told.get("message") != "An internal error has occurred while streaming events."


def answers_of(body: Mapping[str, Any]) -> tuple[bool, list[str] | None]:
    """Whether a run's request resumes, and which questions it answers; None for the one there is."""
    entries = body.get("resume")
    if isinstance(entries, list) and entries:
        return True, [str(entry.get("interruptId", "")) for entry in entries if isinstance(entry, dict)]
    props = body.get("forwardedProps") or body.get("forwarded_props")
    command = props.get("command") if isinstance(props, dict) else None
    answer = command.get("resume") if isinstance(command, dict) else None
    if isinstance(answer, dict) and all(map(is_hex32, answer)):
        return True, list(answer)
    return answer is not None, None


def check_answers(pending: tuple[AgUiQuestion, ...], by_id: Mapping[str | None, Any]) -> None:
    """Refuse what the adapter would not take, or not deliver unchanged."""
    if len(by_id) < len(pending) and any(question.way == "entries" for question in pending):
        raise MultipleInterrupts(
            f"{len(pending)} interrupts are pending, and this server takes the answers to all of them at once: send "
            "`input` as an object {interrupt id: answer} with all of these ids.",
            [question.interrupt for question in pending],
        )
    for question in pending:
        if question.id in by_id:
            _check_answer(question, by_id[question.id])
    decisions = [_approves(by_id[question.id]) for question in pending if question.id in by_id and question.is_approval]
    if len(set(decisions)) > 1:
        raise MultipleInterrupts(
            "This server loses answers of which some approve and some reject (agent-framework-ag-ui 1.7.0): approve "
            "all of these, or reject all.",
            [question.interrupt for question in pending],
        )


def _approves(answer: Any) -> bool:
    """The decision on a tool call; `accepted` is its older name."""
    return isinstance(answer, dict) and answer.get("approved", answer.get("accepted")) is True


def _check_answer(question: AgUiQuestion, answer: Any) -> None:
    if question.way == "command" and _is_no_bare_answer(answer):
        raise UnsupportedInput(
            "This interrupt has no id, and without one the server takes null, {} and objects keyed by 32 "
            "hexadecimal digits for something else than an answer: wrap the answer in an object."
        )
    if question.texts and answer is None:
        raise UnsupportedInput(
            "Microsoft's Agent Framework drops null from a request, and the agent gets {} or nothing: wrap the answer "
            "in an object, if the question takes one."
        )
    if question.way == "entries":
        check_answer(question.interrupt, answer, ENFORCED)


def _is_no_bare_answer(answer: Any) -> bool:
    return answer is None or (isinstance(answer, dict) and all(map(is_hex32, answer)))


def answer_fields(pending: tuple[AgUiQuestion, ...], by_id: Mapping[str | None, Any]) -> dict[str, Any]:
    """The fields of a run's request that carry the answers, beside others in `forwardedProps`."""
    answered = [question for question in pending if question.id in by_id]
    if answered[0].way == "entries":
        return {"resume": [_entry(question, by_id[question.id]) for question in answered]}
    if answered[0].way == "map":
        return {"forwardedProps": {"command": {"resume": dict(by_id)}}}
    return {"forwardedProps": {"command": {"resume": _text(by_id[None], 1)}}}


NO_ANSWER: dict[str, Any] = {"forwardedProps": {"command": {"resume": {}}}}
"""Lets LangGraph go on with the answers that it has: the map of ids is empty."""


def _entry(question: AgUiQuestion, answer: Any) -> dict[str, Any]:
    return {"interruptId": question.id, "status": "resolved", "payload": _text(answer, question.texts)}


def _text(answer: Any, times: int) -> Any:
    """A text for an adapter that reads texts as JSON that many times; any other value needs nothing."""
    if isinstance(answer, str):
        for _ in range(times):
            answer = json.dumps(answer, ensure_ascii=False)
    return answer
