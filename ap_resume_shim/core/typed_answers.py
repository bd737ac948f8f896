"""Checks answers against questions that define their shape, by a schema or by a known form.

A violation is refused before anything is sent.
"""

from __future__ import annotations

from typing import Any

from ap_resume_shim.core import hitl
from ap_resume_shim.core.dialect import Answers, C, Found
from ap_resume_shim.core.errors import InvalidAnswer
from ap_resume_shim.core.interrupt import Interrupt
from ap_resume_shim.core.json_schema import LAX, Strictness, violations


def check_answers(verdict: Answers, found: Found[C]) -> None:
    """Check each answer against the shape and the `response_schema` of its question. Raises `InvalidAnswer`."""
    for interrupt in found.interrupts:
        if interrupt.id in verdict.by_id:
            check_answer(interrupt, verdict.by_id[interrupt.id])


def check_answer(interrupt: Interrupt, answer: Any, strictness: Strictness = LAX, schema: Any = None) -> None:
    """Check an answer against the shape and the `response_schema` of its question.

    `schema` replaces the `response_schema`: it is the part that the server enforces. Raises `InvalidAnswer`, whose
    metadata has the `response_schema`.
    """
    schema = interrupt.response_schema if schema is None else schema
    problems = hitl.violations(interrupt.value, answer) or violations(schema, answer, strictness)
    if not problems:
        return
    first = problems[0]
    place = f" at `{first.path}`" if first.path else ""
    raise InvalidAnswer(
        f"The answer{place} {first.problem}, according to the question. Nothing was sent: correct the answer and "
        "send it again.",
        {
            "problems": [problem.as_json() for problem in problems[:20]],
            "interrupt_id": interrupt.id,
            **({} if interrupt.response_schema is None else {"response_schema": interrupt.response_schema}),
        },
    )
