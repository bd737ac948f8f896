"""A task of an A2A agent: its state, its question and its messages."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ap_resume_shim.core.interrupt import Interrupt

Json = dict[str, Any]

_ACTIVE = ("submitted", "working")
_WAITING = ("input-required", "auth-required")
_FAILED = ("failed", "rejected", "canceled")


class Task:
    """A task, from any of the bindings. Properties use one spelling for all bindings."""

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
        """The id of the task's context."""
        return str(self.value.get("contextId"))

    @property
    def state(self) -> str:
        """The task's state in the spelling of 0.3, such as `input-required`."""
        return str(self._status.get("state")).removeprefix("TASK_STATE_").replace("_", "-").lower()

    @property
    def updated_at(self) -> str | None:
        """The time of the last change of state."""
        return self._status.get("timestamp")

    @property
    def waits(self) -> bool:
        """True if the task waits for an answer or for a login.

        An agent that continues without a new status still looks as if it waited. But once it has the answer, the
        question moves from the status to the history, before the answer (a2a-sdk 0.3.26).
        """
        return self.state in _WAITING and not self._has_answer

    @property
    def works(self) -> bool:
        """True if the task is submitted or working."""
        return self.state in _ACTIVE or (self.state in _WAITING and self._has_answer)

    @property
    def failed(self) -> bool:
        """True if the task failed, or was rejected or cancelled."""
        return self.state in _FAILED

    @property
    def error(self) -> Json | None:
        """The state and the message of a failed task; None for other tasks."""
        if not self.failed:
            return None
        return {"state": self.state, "message": text_of(self._status_message) or f"The task is {self.state}."}

    @property
    def question(self) -> Interrupt:
        """The question that the task waits for.

        Its id is the message's id, so that it differs from the task's next question.
        """
        current = self._status_message
        value = {"task_id": self.id, "state": self.state, "message": message(current) if current else None}
        return Interrupt(str(current.get("messageId") or self.id), value, asked_at=self.updated_at)

    @property
    def question_ids(self) -> set[str]:
        """Ids of all questions, past ones too: the ids of the agent's messages, and the task's id for one without."""
        messages = [self._status_message, *(item for item in self._history if _role(item) == "assistant")]
        return {self.id, *(str(item["messageId"]) for item in messages if item.get("messageId"))}

    @property
    def values(self) -> Json:
        """The task's artifacts, and its messages in the draft's format."""
        messages = [*self._history, *([self._status_message] if self._status_message else [])]
        return {"artifacts": self.value.get("artifacts") or [], "messages": [message(item) for item in messages]}

    def answered_by(self, answer: Json) -> Task:
        """Return the task with its question and `answer` in the history."""
        messages = [item for item in (self._status_message, answer) if item]
        return Task({**self.value, "status": {}, "history": [*self._history, *messages]})

    @property
    def _status_message(self) -> Json:
        status_message = self._status.get("message")
        return status_message if isinstance(status_message, dict) else {}

    @property
    def _history(self) -> list[Json]:
        return [item for item in self.value.get("history") or () if isinstance(item, dict)]

    @property
    def _has_answer(self) -> bool:
        return not self._status_message and [_role(item) for item in self._history[-2:]] == ["assistant", "user"]


def newest(tasks: Iterable[Task]) -> Task:
    """Return the working task, or else the task that changed last."""
    return max(tasks, key=lambda task: (task.works, task.updated_at or ""))


def message(value: Json) -> Json:
    """Convert a message to the draft's format."""
    parts = [part for part in value.get("parts") or () if isinstance(part, dict)]
    text = text_of(value) if all("text" in part for part in parts) else None
    content: Any = [_block(part) for part in parts] if text is None else text
    return {"role": _role(value), "content": content, "id": value.get("messageId")}


def text_of(value: Json) -> str:
    """Return the text of a message or an artifact; its parts are joined by newlines."""
    parts = [part for part in value.get("parts") or () if isinstance(part, dict)]
    return "\n".join(str(part["text"]) for part in parts if "text" in part)


def _block(part: Json) -> Json:
    kind = next((kind for kind in ("text", "data") if kind in part), "file")
    # The list of tasks contains absent fields as "".
    about = {key: value for key, value in part.items() if value != "" and key != "kind"}
    return {"type": kind, **about, **({kind: part[kind]} if kind in part else {})}


def _role(value: Json) -> str:
    return "user" if str(value.get("role")).lower().endswith("user") else "assistant"
