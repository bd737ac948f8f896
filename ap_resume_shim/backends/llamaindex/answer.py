"""An answer as an event of LlamaIndex: of which class, and in which of its fields.

The class is the app's own. The server tells the classes that a workflow knows, not which of them answers a question.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ap_resume_shim.core.errors import ConfigurationError, UnsupportedInput
from ap_resume_shim.core.json_schema import Strictness, violations

_ENFORCED = Strictness(scalar_types=True, bounds=True)
"""The server refuses what its class refuses, and would make true of "yes", and 5 of "5"."""
RESPONSE = "response"
"""The field of the framework's own answer, which declares none: by its documentation."""
ALL = "*"
"""Not one field: the answer is an object of them all."""


class AnswerClasses:
    """The option `event`: one class of answers, or `Question:Answer` for classes of questions that are named."""

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
        """The class that answers questions of this class, where that was told."""
        return self._by_question.get(question, self._default)


@dataclass(frozen=True, slots=True)
class Kind:
    """A class of events, and its JSON schema where the workflow declares it."""

    name: str
    schema: Mapping[str, Any]

    def fields(self, answer: Any, field: str, repeated: Iterable[str]) -> dict[str, Any]:
        """The answer in its field, or the answer itself where it is all fields.

        `field`: the option; `repeated`: the fields that are taken from the question. Raises `UnsupportedInput` for
        what the server would change or refuse.
        """
        declared: dict[str, Any] = self.schema.get("properties") or {}
        left = [name for name in declared if name not in repeated]
        field = field or (left[0] if len(left) == 1 else ALL if declared else RESPONSE)
        given = answer if field == ALL else {field: answer}
        if not isinstance(given, dict):
            raise UnsupportedInput(f"The event {self.name!r} takes an object of its fields{_list(left)}.")
        for name in given:
            if name.startswith("_"):
                raise UnsupportedInput(f"A field {name!r} would not arrive: the framework has its own use for it.")
        required = [name for name in self.schema.get("required") or () if name not in repeated]
        for problem in violations({**self.schema, "required": required}, given, _ENFORCED):
            raise UnsupportedInput(f"The event {self.name!r} would not arrive so: `{problem.path}` {problem.problem}.")
        return given


def _list(names: list[str]) -> str:
    return f": {', '.join(names)}" if names else ""


def taken(graph: Mapping[str, Any], schemas: Iterable[Mapping[str, Any]], asked: set[str]) -> list[Kind]:
    """The classes of events that a workflow takes from outside, by its graph and its list of classes.

    Those that only a waiting step takes are not in the graph: they were named when the workflow was added. Those in
    the graph are taken by a step and given by none; people's answers before others, since a step may send events of
    any class. `asked`: the classes of its questions.
    """
    nodes = {node["id"]: node for node in graph["nodes"] if node["node_type"] == "event"}
    steps = {node["id"] for node in graph["nodes"] if node["node_type"] == "step"}
    given = {name for name, node in nodes.items() if node.get("produced_by") or "StartEvent" in node["event_types"]}
    outside = {edge["source"] for edge in graph["edges"] if edge["target"] in steps} & set(nodes) - given
    people = {name for name in outside if "HumanResponseEvent" in nodes[name]["event_types"]}
    listed = {str(schema.get("title")): schema for schema in schemas}
    named = set(listed) - set(nodes) - asked - {"InputRequiredEvent"}
    return [Kind(name, schema) for name, schema in listed.items() if name in ((people | named) or outside)]
