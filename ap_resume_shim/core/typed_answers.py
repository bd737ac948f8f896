"""Questions that carry the schema of their answer: what certainly violates it is refused before anything is sent."""

from __future__ import annotations

from ap_resume_shim.core.dialect import Found, Input
from ap_resume_shim.core.errors import InvalidAnswer
from ap_resume_shim.core.json_schema import violations


def check_answers(verdict: Input, found: Found) -> None:
    """Compare each answer with the `response_schema` of its question. Raises `InvalidAnswer`."""
    for interrupt in found.interrupts:
        if interrupt.id not in verdict.by_id or interrupt.response_schema is None:
            continue
        problems = violations(interrupt.response_schema, verdict.by_id[interrupt.id])
        if problems:
            first = problems[0]
            place = f" at `{first.path}`" if first.path else ""
            raise InvalidAnswer(
                f"The answer{place} {first.problem}, by the schema of the question. Nothing was sent: correct the "
                "answer and send it again.",
                {
                    "problems": [problem.as_json() for problem in problems[:20]],
                    "response_schema": interrupt.response_schema,
                    "interrupt_id": interrupt.id,
                },
            )
