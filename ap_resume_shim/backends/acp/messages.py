"""ACP's runs and messages: what they tell of a thread, and how an answer becomes one of them."""

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
"""The id of a question: its run's, and the time of its message."""


def run_path(run_id: str) -> str:
    """A run's address."""
    return f"/runs/{segment(run_id)}"


# What runs tell


def status_of(run: Any) -> ThreadStatus:
    """How a run stands. Raises `UpstreamUnrecognised`."""
    status = run.get("status") if isinstance(run, dict) else None
    if status not in _STATUS:
        raise UpstreamUnrecognised(f"The backend knows a run status {status!r}, which the shim does not.")
    return _STATUS[status]


def question(run: dict[str, Any]) -> Interrupt:
    """What a run asks. Questions have no ids there: the run and the moment are one."""
    message = (run.get("await_request") or {}).get("message") or {}
    return Interrupt(f"{run['run_id']}@{message.get('created_at')}", message)


@dataclass(frozen=True, slots=True)
class AcpContext:
    """The runs that a lookup found."""

    asking: dict[str | None, dict[str, Any]] = field(default_factory=dict)
    """Those that wait, by the ids of their questions."""
    resumed: dict[str, Any] = field(default_factory=dict)
    """The one that is resumed."""


def find(runs: list[dict[str, Any]]) -> Found[AcpContext]:
    """How a thread stands, by its runs.

    It is busy as long as any of them is: else an answer that comes late would find the question of another run.
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
    """What a thread still asks when one of its runs has stopped; that run itself tells what came of it."""
    asked = tuple(question(run) for run in runs if status_of(run) == "interrupted")
    times = [str(run["finished_at"]) for run in runs if run.get("finished_at")]
    updated_at = max(times, default=None)
    return Found("interrupted" if asked else "idle", asked, updated_at=updated_at, context=AcpContext())


def ended(run: Any) -> Ended:
    """How a run stopped: what it has said so far, and why it failed if it did."""
    status = status_of(run)
    output = run.get("output") or []
    values = {"output": output, "messages": [message_of(message) for message in output]}
    if status != "error":
        return Ended(values)
    return Ended(values, run.get("error") or {"code": run["status"], "message": f"The run was {run['status']}."})


def message_of(message: dict[str, Any]) -> dict[str, Any]:
    """A message in the draft's words."""
    return {"role": message.get("role"), "content": content_of(message.get("parts") or [])}


def content_of(parts: list[dict[str, Any]]) -> str | list[dict[str, Any]]:
    """Texts as one, as the SDK itself joins them; with anything else among them, as blocks."""
    if all(map(_is_text, parts)):
        return "".join(part["content"] for part in parts)
    return [_block(part) for part in parts]


def _is_text(part: dict[str, Any]) -> bool:
    return part.get("content_type") == "text/plain" and part.get("content") is not None


def _block(part: dict[str, Any]) -> dict[str, Any]:
    if _is_text(part):
        return {"type": "text", "text": part["content"]}
    return {"type": part.get("content_type"), **{name: value for name, value in part.items() if value is not None}}


# What an answer becomes


def part(value: Any) -> dict[str, Any]:
    """An answer as a part of a message. Its content is a string, and `content_type` says of what."""
    if isinstance(value, str):
        return {"content_type": "text/plain", "content": value}
    return {"content_type": "application/json", "content": strictjson.dumps(value).decode()}


def parts_of_messages(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The client's messages as parts of the one that a resume is. Raises `UnsupportedInput`."""
    if len(messages) != 1 or messages[0]["role"] != "user" or set(messages[0]) != {"role", "content"}:
        raise UnsupportedInput("This backend takes one message, of role `user`, that has a content and nothing else.")
    content = messages[0]["content"]
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
    if not all(set(block) == {"type", "text"} and block["type"] == "text" for block in blocks):
        raise UnsupportedInput("Of a message this backend takes texts alone: send another answer as `input`.")
    return [part(block["text"]) for block in blocks]
