"""Reads a workflow's run: the steps that wait for an answer, and the run's result."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ap_resume_shim.backends.mastra.messages import plain
from ap_resume_shim.core.interrupt import Interrupt
from ap_resume_shim.core.reframer import Ended

QUESTION_ID = re.compile(r".+@\d{13}", re.DOTALL)
"""The form of a question's id: its step, and the time in milliseconds at which the step asked."""
_META = "__workflow_meta"


@dataclass(frozen=True, slots=True)
class StepQuestion:
    """A step that waits for its answer.

    A step may ask several times, so the question's id includes the time.
    """

    path: tuple[str, ...]
    """The names of the workflows that contain the step, and the name of the step."""
    value: Any
    asked_at: Any
    item: int | None = None
    """Index of the item that a `foreach` asks about."""
    schema: Any = None
    """JSON schema of the answer."""

    @property
    def step(self) -> str:
        """The step's name in the server's responses: the path, joined by dots."""
        return ".".join(self.path)

    @property
    def interrupt(self) -> Interrupt:
        """The question as an `Interrupt`."""
        item = "" if self.item is None else f"[{self.item}]"
        asked_at = _rfc3339(self.asked_at)
        return Interrupt(f"{self.step}{item}@{self.asked_at}", self.value, self.schema, asked_at=asked_at)


def questions_of(steps: dict[str, Any]) -> tuple[StepQuestion, ...]:
    """Return the pending questions. `steps` contains the steps of nested workflows as well, under dotted names."""
    asking = {name: step for name, step in steps.items() if step.get("status") == "suspended"}
    leaves = (name for name in asking if not any(other.startswith(f"{name}.") for other in asking))
    return tuple(question for name in leaves for question in _questions(_path(name, steps), asking[name]))


def without_meta(payload: Any) -> Any:
    """Return the payload of a step's question without the server's metadata; None if nothing is left."""
    if not isinstance(payload, dict) or _META not in payload:
        return payload
    return {key: value for key, value in payload.items() if key != _META} or None


def outcome(run: dict[str, Any]) -> Ended:
    """Return the result of a run, or the error of a run that has none."""
    match run.get("status"):
        case "failed":
            return Ended(error=plain(run.get("error")) or {"message": "The workflow failed."})
        case "canceled":
            return Ended(error={"message": "The run was cancelled."})
        case "tripwire":
            return Ended(error=run.get("tripwire") or {"message": "The run was stopped by a processor."})
    return Ended(run.get("result"))


def _rfc3339(milliseconds: Any) -> str | None:
    """Return a time in RFC 3339; None for any other value."""
    is_time = isinstance(milliseconds, int) and 0 < milliseconds < 2**43
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat() if is_time else None


def _questions(path: tuple[str, ...], step: dict[str, Any]) -> Iterator[StepQuestion]:
    payload = step.get("suspendPayload")
    meta = payload.get(_META, {}) if isinstance(payload, dict) else {}
    items = meta.get("foreachOutput")
    if items is None:
        yield StepQuestion((*path, *meta.get("path", ())), without_meta(payload), step.get("suspendedAt"))
        return
    for index, item in enumerate(items):
        if isinstance(item, dict) and item.get("status") == "suspended":
            for question in _questions(path, item):
                yield StepQuestion(question.path, question.value, question.asked_at, index)


def _path(name: str, steps: dict[str, Any]) -> tuple[str, ...]:
    """Split a dotted name into a path. A prefix is a workflow only if a step has that name: names may contain dots."""
    above = max((other for other in steps if name.startswith(f"{other}.")), key=len, default=None)
    return (name,) if above is None else (*_path(above, steps), name.removeprefix(f"{above}."))
