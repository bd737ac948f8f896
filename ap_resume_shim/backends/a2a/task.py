"""A task of an A2A agent: how it stands, what it asks, and what it has said."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ap_resume_shim.core.interrupt import Interrupt

Json = dict[str, Any]

_ACTIVE = ("submitted", "working")
_WAITING = ("input-required", "auth-required")
_FAILED = ("failed", "rejected", "canceled")


class Task:
    """A task as any of the bindings tells it; their spellings are one here."""

    def __init__(self, value: Json) -> None:
        self.value = value
        status = value.get("status")
        self._status: Json = status if isinstance(status, dict) else {}

    @property
    def id(self) -> str:
        """The task's id."""
        return str(self.value.get("id"))

    @property
    def context_id(self) -> str:
        """The context that it is in."""
        return str(self.value.get("contextId"))

    @property
    def state(self) -> str:
        """In the words of 0.3: `input-required`."""
        return str(self._status.get("state")).removeprefix("TASK_STATE_").replace("_", "-").lower()

    @property
    def updated_at(self) -> str | None:
        """When it came into this state."""
        return self._status.get("timestamp")

    @property
    def waits(self) -> bool:
        """Whether it waits for an answer, or for a login.

        An agent that goes on without saying so still looks as if it waited. But once it has the answer, the question
        is no longer its status, and stands in the history before the answer (a2a-sdk 0.3.26).
        """
        return self.state in _WAITING and not self._has_answer

    @property
    def works(self) -> bool:
        """Whether it goes on."""
        return self.state in _ACTIVE or (self.state in _WAITING and self._has_answer)

    @property
    def failed(self) -> bool:
        """Whether it ended, and not well."""
        return self.state in _FAILED

    @property
    def error(self) -> Json | None:
        """What is known of its failure."""
        if not self.failed:
            return None
        return {"state": self.state, "message": text_of(self._said) or f"The task is {self.state}."}

    @property
    def question(self) -> Interrupt:
        """What it waits for. The question has an id of its own, so that it is not taken for the task's next one."""
        value = {"task_id": self.id, "state": self.state, "message": message(self._said) if self._said else None}
        return Interrupt(str(self._said.get("messageId") or self.id), value)

    @property
    def question_ids(self) -> set[str]:
        """Ids of all its questions, past ones too: of what the agent has said. One without an id has the task's."""
        said = [self._said, *(item for item in self._history if _role(item) == "assistant")]
        return {self.id, *(str(item["messageId"]) for item in said if item.get("messageId"))}

    @property
    def values(self) -> Json:
        """What it has made, and what was said, as the draft has messages."""
        said = [*self._history, *([self._said] if self._said else [])]
        return {"artifacts": self.value.get("artifacts") or [], "messages": [message(item) for item in said]}

    def answered_by(self, answer: Json) -> Task:
        """The task with an answer to what it asked."""
        said = [item for item in (self._said, answer) if item]
        return Task({**self.value, "status": {}, "history": [*self._history, *said]})

    @property
    def _said(self) -> Json:
        said = self._status.get("message")
        return said if isinstance(said, dict) else {}

    @property
    def _history(self) -> list[Json]:
        return [item for item in self.value.get("history") or () if isinstance(item, dict)]

    @property
    def _has_answer(self) -> bool:
        return not self._said and [_role(item) for item in self._history[-2:]] == ["assistant", "user"]


def newest(tasks: Iterable[Task]) -> Task:
    """The task that goes on, or changed last."""
    return max(tasks, key=lambda task: (task.works, task.updated_at or ""))


def message(value: Json) -> Json:
    """A message in the draft's words."""
    parts = [part for part in value.get("parts") or () if isinstance(part, dict)]
    text = text_of(value) if all("text" in part for part in parts) else None
    content: Any = [_block(part) for part in parts] if text is None else text
    return {"role": _role(value), "content": content, "id": value.get("messageId")}


def text_of(value: Json) -> str:
    """The text in a message or an artifact."""
    parts = [part for part in value.get("parts") or () if isinstance(part, dict)]
    return "\n".join(str(part["text"]) for part in parts if "text" in part)


def _block(part: Json) -> Json:
    kind = next((kind for kind in ("text", "data") if kind in part), "file")
    # The list of tasks shows fields that are not there as well, as "".
    about = {key: value for key, value in part.items() if value != "" and key != "kind"}
    return {"type": kind, **about, **({kind: part[kind]} if kind in part else {})}


def _role(value: Json) -> str:
    return "user" if str(value.get("role")).lower().endswith("user") else "assistant"
