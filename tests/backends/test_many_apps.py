"""Servers with twenty apps, workflows or agents: all are asked which of them has the thread, once for each resume."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from ap_resume_shim.backends import load_backend
from ap_resume_shim.core.protocol import Mode, parse
from ap_resume_shim.tools.describe import MODES
from ap_resume_shim.tools.explain import RecordedAnswers, explain, recorded_answers

MANY = [f"other-{number}" for number in range(19)]
LISTS = {
    "adk": "GET /list-apps",
    "mastra": "GET /api/workflows?partial=true",
    "mastra-agent": "GET /api/agents?partial=true",
}
"""Where a server lists them."""
OTHERS: dict[str, dict[str, Any]] = {
    "adk": {"request": "GET /apps/{}/users/user/sessions/{thread_id}", "status": 404, "body": {"detail": "Not Found"}},
    "mastra": {
        "request": "GET /api/workflows/{}/runs/{thread_id}",
        "status": 404,
        "body": {"error": "Workflow run not found"},
    },
    "mastra-agent": {"request": "GET /api/agents/{}/suspended-runs?threadId={thread_id}", "body": {"runs": []}},
}
"""What one answers that does not have the thread."""
ANSWER = {"mastra-agent": b'{"approved": true}'}


def recorded(name: str) -> RecordedAnswers:
    """The recorded server, with nineteen more."""
    answers = recorded_answers(name)
    assert answers is not None
    return [*(_listing(name, answer) for answer in answers), *_others(name)]


def _listing(name: str, answer: dict[str, Any]) -> dict[str, Any]:
    if answer["request"] != LISTS[name]:
        return answer
    listed = answer["body"]
    more = [*listed, *MANY] if isinstance(listed, list) else {**listed, **{other: {"id": other} for other in MANY}}
    return {**answer, "body": more}


def _others(name: str) -> Iterator[dict[str, Any]]:
    for other in MANY:
        yield {**OTHERS[name], "request": OTHERS[name]["request"].replace("{}", other)}


@pytest.mark.parametrize("mode", list(Mode), ids=MODES.values())
@pytest.mark.parametrize("name", LISTS)
def test_what_the_first_lookup_found_is_used_by_the_later_ones(name: str, mode: Mode) -> None:
    raw = b'{"thread_id": "b0c2f5e6-51a4-4a79-a5f4-1b9a5c5e7f10", "input": ' + ANSWER.get(name, b'"yes"') + b"}"
    resume = parse(raw, mode, now="2026-11-24T12:00:00+00:00", nonce="n" * 32)
    shown = [
        f"{each.request.method} {each.request.target}" for each in explain(resume, load_backend(name), recorded(name))
    ]
    asked = [line for line in shown if any(other in line for other in MANY)]
    assert (len(asked), shown.count(LISTS[name])) == (19, 1), shown
    assert len(shown) <= 30
