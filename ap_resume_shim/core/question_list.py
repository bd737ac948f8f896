"""Questions as JSON objects, for clients that show them to a person."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ap_resume_shim.core.dialect import C, Dialect, Found
from ap_resume_shim.core.interrupt import Interrupt
from ap_resume_shim.core.protocol import Mode
from ap_resume_shim.core.questions import describe
from ap_resume_shim.core.questions.template import Template

Json = dict[str, Any]


def questions_of(thread_id: str, found: Found[C], dialect: Dialect[C], *, base: str = "") -> list[Json]:
    """Return the questions of a thread that an answer can reach; none while the thread is busy.

    `base` is the path in front of the resume routes.
    """
    if found.status == "busy":
        return []
    described = [(interrupt, describe(interrupt).as_json()) for interrupt in found.interrupts]
    templates = {interrupt.id: its["answer"] for interrupt, its in described}
    return [
        {
            "thread_id": thread_id,
            "agent_id": found.agent_id,
            "interrupt_id": interrupt.id,
            "value": interrupt.value,
            "response_schema": interrupt.response_schema,
            **its,
            "asked_at": interrupt.asked_at if isinstance(interrupt.asked_at, str) else None,
            "expires_at": interrupt.expires_at,
            "resume": {
                "method": "PATCH",
                "path": base + Mode.BACKGROUND.route,
                "body": {
                    "thread_id": thread_id,
                    **_answer(interrupt, its["answer"], dialect.answered_together(found, interrupt), templates),
                },
            },
        }
        for interrupt, its in described
    ]


def _answer(
    interrupt: Interrupt, template: Template, together: Sequence[Interrupt], templates: Mapping[str | None, Template]
) -> Json:
    """Return the fields that answer a question, and pin the answer to it.

    Where the backend accepts only the answers to several questions at once, `input` has the templates of all of them.
    """
    if len(together) > 1:
        return {"input": {str(each.id): templates[each.id] for each in together}}
    return {**({} if interrupt.id is None else {"interrupt_id": interrupt.id}), "input": template}


def notes_on(found: Found[C]) -> Iterator[str]:
    """Yield sentences about a thread that has stopped without a question."""
    if found.status == "busy":
        yield "The thread is running: read it again when it has stopped."
    elif found.breakpoint:
        yield f"The thread {found.stopped}."
    elif found.answered and not found.interrupts:
        yield "The thread's question was answered, and the step failed afterwards."
