"""ACP's runs and messages: derives a thread's state from its runs, and converts an answer to a message."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Any

from ap_resume_shim.core import strictjson
from ap_resume_shim.core.dialect import Found, ThreadStatus
from ap_resume_shim.core.errors import UnsupportedInput, UpstreamUnrecognised
from ap_resume_shim.core.http import segment
from ap_resume_shim.core.interrupt import Interrupt
from ap_resume_shim.core.json_values import UUID
from ap_resume_shim.core.reframer import Ended

_STATUS: dict[str, ThreadStatus] = {
    "created": "busy",
    "in-progress": "busy",
    "cancelling": "busy",
    "awaiting": "interrupted",
    "completed": "idle",
    "failed": "error",
    "cancelled": "error",
}
QUESTION_ID = re.compile(UUID.pattern + "@.+")
"""The form of a question's id: the id of its run, and the time of its message."""


def run_path(run_id: str) -> str:
    """Return the path of a run."""
    return f"/runs/{segment(run_id)}"


# Reading runs


def status_of(run: Any) -> ThreadStatus:
    """Return the thread status for a run's status. Raises `UpstreamUnrecognised` for an unknown status."""
    status = run.get("status") if isinstance(run, dict) else None
    if status not in _STATUS:
        raise UpstreamUnrecognised(f"The backend reported the run status {status!r}, which the shim does not know.")
    return _STATUS[status]


def question(run: dict[str, Any]) -> Interrupt:
    """Return the question of a run. ACP's questions have no ids, so the id is made from the run and the time."""
    message = (run.get("await_request") or {}).get("message") or {}
    asked_at = message.get("created_at")
    return Interrupt(f"{run['run_id']}@{asked_at}", message, asked_at=asked_at)


@dataclass(frozen=True, slots=True)
class AcpContext:
    """The runs that a lookup found."""

    asking: dict[str | None, dict[str, Any]] = field(default_factory=dict)
    """Waiting runs, by the ids of their questions."""
    resumed: dict[str, Any] = field(default_factory=dict)
    """The run that is resumed."""


def find(runs: list[dict[str, Any]]) -> Found[AcpContext]:
    """Return the thread, from its runs.

    It is busy while any of them is: otherwise a late answer could reach the question of another run.
    """
    busy = [run for run in runs if status_of(run) == "busy"]
    if busy:
        return Found("busy", run_id=busy[0]["run_id"] if len(busy) == 1 else None, context=AcpContext())
    newest = max(runs, key=lambda run: str(run.get("created_at")))
    asking = {question(run).id: run for run in runs if status_of(run) == "interrupted"}
    return replace(
        at_rest(runs),
        status="interrupted" if asking else status_of(newest),
        agent_id=newest["agent_name"],
        run_id=newest["run_id"],
        context=AcpContext(asking),
    )


def at_rest(runs: list[dict[str, Any]]) -> Found[AcpContext]:
    """Return the thread after one of its runs has stopped: the open questions, and the time of the last end.

    The result comes from the run itself.
    """
    questions = tuple(question(run) for run in runs if status_of(run) == "interrupted")
    times = [str(run["finished_at"]) for run in runs if run.get("finished_at")]
    updated_at = max(times, default=None)
    return Found("interrupted" if questions else "idle", questions, updated_at=updated_at, context=AcpContext())


def ended(run: Any) -> Ended:
    """Return a run's output so far, and its error if it failed."""
    status = status_of(run)
    output = run.get("output") or []
    values = {"output": output, "messages": [message_of(message) for message in output]}
    if status != "error":
        return Ended(values)
    return Ended(values, run.get("error") or {"code": run["status"], "message": f"The run was {run['status']}."})


def message_of(message: dict[str, Any]) -> dict[str, Any]:
    """Convert a message to the draft's format."""
    return {"role": message.get("role"), "content": content_of(message.get("parts") or [])}


def content_of(parts: list[dict[str, Any]]) -> str | list[dict[str, Any]]:
    """Return the content of a message: text parts as one text, joined as in the SDK; other parts as blocks."""
    if all(map(_is_text, parts)):
        return "".join(part["content"] for part in parts)
    return [_block(part) for part in parts]


def _is_text(part: dict[str, Any]) -> bool:
    return part.get("content_type") == "text/plain" and part.get("content") is not None


def _block(part: dict[str, Any]) -> dict[str, Any]:
    if _is_text(part):
        return {"type": "text", "text": part["content"]}
    return {"type": part.get("content_type"), **{name: value for name, value in part.items() if value is not None}}


# Writing answers


def part(value: Any) -> dict[str, Any]:
    """Convert an answer to a part of a message: text as `text/plain`, other values as `application/json`."""
    if isinstance(value, str):
        return {"content_type": "text/plain", "content": value}
    return {"content_type": "application/json", "content": strictjson.dumps(value).decode()}


def parts_of_messages(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Convert the client's messages to the parts of the one message that resumes a run.

    Raises `UnsupportedInput` unless there is one message, of role `user`, with only text.
    """
    if len(messages) != 1 or messages[0]["role"] != "user" or set(messages[0]) != {"role", "content"}:
        raise UnsupportedInput("This backend accepts one message, of role `user`, that has only a content.")
    content = messages[0]["content"]
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
    if not all(set(block) == {"type", "text"} and block["type"] == "text" for block in blocks):
        raise UnsupportedInput("This backend accepts only text in a message: send another answer as `input`.")
    return [part(block["text"]) for block in blocks]
