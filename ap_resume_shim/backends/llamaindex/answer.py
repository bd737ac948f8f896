"""Converts an answer to a LlamaIndex event: chooses the event's class and the field for the answer.

The app defines the class. The server lists the classes of a workflow, but not which of them answers a question.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ap_resume_shim.core.errors import ConfigurationError, UnsupportedInput
from ap_resume_shim.core.json_schema import Strictness, violations

_ENFORCED = Strictness(scalar_types=True, bounds=True)
"""The server rejects values that the event's class rejects, and would convert "yes" to true and "5" to 5."""
RESPONSE = "response"
"""The field of the framework's `HumanResponseEvent`, from its documentation; the class declares no fields."""
ALL = "*"
"""The value of the option `field` that makes the answer an object of all fields."""


class AnswerClasses:
    """The option `event`: one class for all answers, or `Question:Answer, ...` for each class of questions.

    Raises `ConfigurationError` for an invalid option.
    """

    def __init__(self, option: str) -> None:
        self._default: str | None = None
        self._by_question: dict[str, str] = {}
        for item in option.split(",") if option.strip() else ():
            question, colon, answer = (part.strip() for part in item.partition(":"))
            if not question or bool(colon) != bool(answer) or (not colon and self._default):
                raise ConfigurationError(
                    "The option `event` of the backend 'llamaindex' is the name of a class, or `Question:Answer, ...`, "
                    f"not {option!r}."
                )
            if colon:
                self._by_question[question] = answer
            else:
                self._default = question

    def of(self, question: str) -> str | None:
        """Return the class that answers questions of this class; None if the option does not name it."""
        return self._by_question.get(question, self._default)


@dataclass(frozen=True, slots=True)
class Kind:
    """A class of events, with its JSON schema if the workflow declares one."""

    name: str
    schema: Mapping[str, Any]

    def fields(self, answer: Any, field: str, repeated: Iterable[str]) -> dict[str, Any]:
        """Return the event's fields: the answer in its field, or an answer that is an object of all fields.

        `field` is the option; `repeated` are the fields that are copied from the question. Raises `UnsupportedInput`
        for values that the server would change or reject.
        """
        declared: dict[str, Any] = self.schema.get("properties") or {}
        free = [name for name in declared if name not in repeated]
        field = field or (free[0] if len(free) == 1 else ALL if declared else RESPONSE)
        event = answer if field == ALL else {field: answer}
        if not isinstance(event, dict):
            raise UnsupportedInput(f"The event {self.name!r} is an object with its fields{_list(free)}.")
        for name in event:
            if name.startswith("_"):
                raise UnsupportedInput(f"A field {name!r} would not arrive: the framework uses this name itself.")
        required = [name for name in self.schema.get("required") or () if name not in repeated]
        for problem in violations({**self.schema, "required": required}, event, _ENFORCED):
            raise UnsupportedInput(
                f"The event {self.name!r} would not arrive unchanged: `{problem.path}` {problem.problem}."
            )
        return event


def _list(names: list[str]) -> str:
    return f": {', '.join(names)}" if names else ""


def accepted_kinds(graph: Mapping[str, Any], schemas: Iterable[Mapping[str, Any]], asked: set[str]) -> list[Kind]:
    """Return the classes of events that a workflow accepts from outside.

    `graph` is the workflow's graph, `schemas` its list of classes, `asked` the classes of its questions.

    - A class that only a waiting step accepts is in the list but not in the graph: the app named it when it added the
      workflow.
    - A class in the graph is accepted by a step and produced by none. Subclasses of `HumanResponseEvent` are preferred,
      since a step may send events of any class.
    """
    nodes = {node["id"]: node for node in graph["nodes"] if node["node_type"] == "event"}
    steps = {node["id"] for node in graph["nodes"] if node["node_type"] == "step"}
    produced = {name for name, node in nodes.items() if node.get("produced_by") or "StartEvent" in node["event_types"]}
    outside = {edge["source"] for edge in graph["edges"] if edge["target"] in steps} & set(nodes) - produced
    human = {name for name in outside if "HumanResponseEvent" in nodes[name]["event_types"]}
    listed = {str(schema.get("title")): schema for schema in schemas}
    unlisted = set(listed) - set(nodes) - asked - {"InputRequiredEvent"}
    return [Kind(name, schema) for name, schema in listed.items() if name in ((human | unlisted) or outside)]
