"""Questions as JSON objects, for clients that show them to a person."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ap_resume_shim.core.dialect import C, Found
from ap_resume_shim.core.interrupt import Interrupt
from ap_resume_shim.core.protocol import Mode
from ap_resume_shim.core.questions import describe

Json = dict[str, Any]


def questions_of(thread_id: str, found: Found[C], *, base: str = "") -> list[Json]:
    """Return the questions of a thread that an answer can reach; none while the thread is busy.

    `base` is the path in front of the resume routes.
    """
    if found.status == "busy":
        return []
    return [question(thread_id, found.agent_id, interrupt, base=base) for interrupt in found.interrupts]


def question(thread_id: str, agent_id: str | None, interrupt: Interrupt, *, base: str = "") -> Json:
    """Return a question, with its kind and the request that answers it."""
    described = describe(interrupt).as_json()
    pin = {} if interrupt.id is None else {"interrupt_id": interrupt.id}
    return {
        "thread_id": thread_id,
        "agent_id": agent_id,
        "interrupt_id": interrupt.id,
        "value": interrupt.value,
        "response_schema": interrupt.response_schema,
        **described,
        "asked_at": interrupt.asked_at if isinstance(interrupt.asked_at, str) else None,
        "expires_at": interrupt.expires_at,
        "resume": {
            "method": "PATCH",
            "path": base + Mode.BACKGROUND.route,
            "body": {"thread_id": thread_id, **pin, "input": described["answer"]},
        },
    }


def notes_on(found: Found[C]) -> Iterator[str]:
    """Yield sentences about a thread that has stopped without a question."""
    if found.status == "busy":
        yield "The thread is running: read it again when it has stopped."
    elif found.breakpoint:
        yield f"The thread {found.stopped}."
    elif found.answered and not found.interrupts:
        yield "The thread's question was answered, and the step failed afterwards."
