"""Questions that say what an answer looks like, by a schema or by a known shape.

What certainly violates it is refused before anything is sent.
"""

from __future__ import annotations

from ap_resume_shim.core import hitl
from ap_resume_shim.core.dialect import Found, Input
from ap_resume_shim.core.errors import InvalidAnswer
from ap_resume_shim.core.json_schema import violations


def check_answers(verdict: Input, found: Found) -> None:
    """Compare each answer with the shape and the `response_schema` of its question. Raises `InvalidAnswer`."""
    for interrupt in found.interrupts:
        if interrupt.id not in verdict.by_id:
            continue
        answer = verdict.by_id[interrupt.id]
        problems = hitl.violations(interrupt.value, answer) or violations(interrupt.response_schema, answer)
        if problems:
            first = problems[0]
            place = f" at `{first.path}`" if first.path else ""
            raise InvalidAnswer(
                f"The answer{place} {first.problem}, by what the question asks for. Nothing was sent: correct the "
                "answer and send it again.",
                {
                    "problems": [problem.as_json() for problem in problems[:20]],
                    "interrupt_id": interrupt.id,
                    **({} if interrupt.response_schema is None else {"response_schema": interrupt.response_schema}),
                },
            )
