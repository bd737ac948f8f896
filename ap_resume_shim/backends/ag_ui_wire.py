"""AG-UI on the wire: what a run is sent, what its questions carry, and in which of three ways each is answered.

Facts are from the adapters as they ran; `docs/backends/ag-ui.md` has the table.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

from ap_resume_shim.core import strictjson
from ap_resume_shim.core.errors import MultipleInterrupts, UnsupportedInput
from ap_resume_shim.core.interrupt import Interrupt

Way = Literal["entries", "map", "command"]
"""How a question is answered: `resume` with an entry for each; `command.resume` by LangGraph's ids; or with the bare
answer, where the question came without an id."""

QUESTION_BYTES = 16 * 1024
"""Of all questions of a thread together, as JSON: what they say beyond that is not remembered."""


@dataclass(frozen=True, slots=True)
class Question:
    """A question, as the ledger remembers it."""

    id: str | None
    value: Any
    way: Way
    texts: int = 0
    """How many times the adapter reads an answer that is text as JSON, on its way to the agent."""
    keeps_history: bool = True
    """Whether the server keeps the conversation, so that a resume need not bring it along."""

    @classmethod
    def read(cls, facts: Any, value: Any) -> Self | None:
        """From the ledger; None where it cannot be read."""
        match facts:
            case {
                "id": str() | None as id_,
                "way": "entries" | "map" | "command" as way,
                "texts": int(texts),
                "keeps_history": bool(keeps_history),
            }:
                return cls(id_, value, way, texts, keeps_history)
        return None

    @property
    def facts(self) -> dict[str, Any]:
        """What the ledger keeps of it beside what it says."""
        return {"id": self.id, "way": self.way, "texts": self.texts, "keeps_history": self.keeps_history}

    @property
    def interrupt(self) -> Interrupt:
        """As the flow knows it."""
        return Interrupt(self.id, self.value)

    @property
    def schema(self) -> Any:
        """What the adapter holds an answer against; LangGraph's holds it against nothing."""
        return self.value.get("responseSchema") if self.way == "entries" and isinstance(self.value, dict) else None


def asked(customs: Iterable[Mapping[str, Any]], finished: Mapping[str, Any]) -> tuple[Question, ...]:
    """The questions at which a run stopped: those of its outcome, else those of its `on_interrupt` events."""
    outcome = finished.get("outcome")
    entries = outcome.get("interrupts") if isinstance(outcome, dict) else None
    if isinstance(entries, list) and entries:
        questions = tuple(_of_entry(entry) for entry in entries if isinstance(entry, dict))
    else:
        questions = tuple(_of_custom(event) for event in customs)
    return _fitting(questions)


def _of_entry(entry: dict[str, Any]) -> Question:
    """LangGraph's adapter takes no entry of `resume` for several questions, nor null: its own ids carry both."""
    metadata = entry.get("metadata")
    about: dict[str, Any] = metadata if isinstance(metadata, dict) else {}
    own, framework = about.get("langgraph"), about.get("agent_framework")
    if isinstance(own, dict) and _is_langgraph_id(entry.get("id")):
        return Question(entry["id"], own.get("raw"), "map")
    value = {name: item for name, item in entry.items() if name != "id"}
    if not isinstance(framework, dict):
        return Question(entry.get("id"), value, "entries")
    # Read as JSON when the request comes, and once more unless the question takes text.
    texts = 1 if framework.get("response_type") == "str" else 2
    return Question(entry.get("id"), value, "entries", texts, framework.get("type") != "function_approval_request")


def _of_custom(event: Mapping[str, Any]) -> Question:
    """The event has no id of its own; the Python and the JavaScript adapter add LangGraph's interrupt as it was."""
    raw = event.get("rawEvent")
    if not isinstance(raw, dict):
        raw = {}
    value = raw["value"] if "value" in raw else _parsed(event.get("value"))
    if _is_langgraph_id(raw.get("id")):
        return Question(raw["id"], value, "map")
    return Question(None, value, "command")


def _parsed(value: Any) -> Any:
    """What is not text is sent as JSON text."""
    if not isinstance(value, str):
        return value
    try:
        return strictjson.read(value)
    except ValueError:
        return value


def _fitting(questions: tuple[Question, ...]) -> tuple[Question, ...]:
    """What questions say, as long as all of it has a place in the ledger."""
    if len(strictjson.dumps([question.value for question in questions])) <= QUESTION_BYTES:
        return questions
    return tuple(replace(question, value=None) for question in questions)


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
    if isinstance(answer, dict) and all(map(_is_langgraph_id, answer)):
        return True, list(answer)
    return answer is not None, None


def check_answers(pending: tuple[Question, ...], by_id: Mapping[str | None, Any]) -> None:
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


def _check_answer(question: Question, answer: Any) -> None:
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
    if not fits(question.schema, answer):
        raise UnsupportedInput(
            "The answer is not what the question asks for, so that the server would refuse or change it: its "
            "`responseSchema` is in the interrupt's value."
        )


_TYPES: dict[str, Callable[[Any], bool]] = {
    "string": lambda answer: isinstance(answer, str),
    "boolean": lambda answer: isinstance(answer, bool),
    "integer": lambda answer: isinstance(answer, int) and not isinstance(answer, bool),
    "number": lambda answer: isinstance(answer, int | float) and not isinstance(answer, bool),
    "object": lambda answer: isinstance(answer, dict),
    "array": lambda answer: isinstance(answer, list),
}


def fits(schema: Any, answer: Any) -> bool:
    """Whether an answer is what a schema asks for, as far as the adapters look at one: types, and members."""
    if not isinstance(schema, dict):
        return True
    if not _TYPES.get(str(schema.get("type")), lambda _: True)(answer):
        return False
    if not isinstance(answer, dict):
        return True
    choices = schema.get("anyOf") or [{}]
    required = schema.get("required") or []
    members = schema.get("properties") or {}
    return (
        all(name in answer for name in required)
        and any(all(name in answer for name in choice.get("required") or []) for choice in choices)
        and all(fits(member, answer[name]) for name, member in members.items() if name in answer)
    )


def _is_no_bare_answer(answer: Any) -> bool:
    return answer is None or (isinstance(answer, dict) and all(map(_is_langgraph_id, answer)))


def answer_fields(pending: tuple[Question, ...], by_id: Mapping[str | None, Any]) -> dict[str, Any]:
    """The fields of a run's request that carry the answers, beside others in `forwardedProps`."""
    answered = [question for question in pending if question.id in by_id]
    if answered[0].way == "entries":
        return {"resume": [_entry(question, by_id[question.id]) for question in answered]}
    if answered[0].way == "map":
        return {"forwardedProps": {"command": {"resume": dict(by_id)}}}
    return {"forwardedProps": {"command": {"resume": _text(by_id[None], 1)}}}


NO_ANSWER: dict[str, Any] = {"forwardedProps": {"command": {"resume": {}}}}
"""Lets LangGraph go on with the answers that it has: the map of ids is empty."""


def _entry(question: Question, answer: Any) -> dict[str, Any]:
    return {"interruptId": question.id, "status": "resolved", "payload": _text(answer, question.texts)}


def _text(answer: Any, times: int) -> Any:
    """A text for an adapter that reads texts as JSON that many times; any other value needs nothing."""
    if isinstance(answer, str):
        for _ in range(times):
            answer = json.dumps(answer, ensure_ascii=False)
    return answer


def _is_langgraph_id(value: Any) -> bool:
    return isinstance(value, str) and len(value) == 32 and all(char in "0123456789abcdef" for char in value)
