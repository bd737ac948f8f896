"""The examples of the pages about the policy work."""

from __future__ import annotations

import json
import re
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.serving import serving
from tests.test_docs import ROOT, asked_thread, blocks, run

AUDIT, AUTHORIZE = ROOT / "docs/how-to/audit.md", ROOT / "docs/how-to/authorize-resumes.md"


@pytest.mark.parametrize(
    ("caller", "answer", "status"),
    [("Bearer me", "approve", 403), ("Bearer me", "reject", 200), ("Bearer manager", "approve", 200)],
)
def test_only_managers_approve_in_the_example(caller: str, answer: str, status: int) -> None:
    app = run(blocks(AUTHORIZE, "python")[0])["app"]
    with serving(app) as url, httpx.Client(base_url=url, headers={"authorization": caller}) as client:
        body = {"thread_id": asked_thread(client), "input": answer}
        response = client.patch("/runs/resume/wait", json=body)
    assert response.status_code == status
    assert (response.json().get("message") == "Only managers approve a deployment.") is (status == 403)


def test_the_page_shows_what_the_hook_receives() -> None:
    (shown,) = map(json.loads, blocks(AUTHORIZE, "json"))
    received: list[dict[str, Any]] = []

    async def authorize(attempt: dict[str, Any]) -> str:
        received.append(attempt)
        return "No."

    app = run(blocks(AUTHORIZE, "python")[0], authorize=authorize)["app"]
    app = type(app)(app.app, backend="agent-protocol", authorize=authorize)
    with serving(app) as url, httpx.Client(base_url=url, headers={"authorization": "Bearer me"}) as client:
        client.patch("/runs/resume/wait", json={"thread_id": asked_thread(client), "input": "approve"})
    assert {name: set(value) for name, value in received[0].items() if name != "questions"} == {
        name: set(value) for name, value in shown.items() if name != "questions"
    }
    assert set(shown["questions"][0]) <= set(received[0]["questions"][0])


def test_the_page_on_the_audit_file_shows_its_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"^`app/shim\.py`:\n\n```python\n(.*?)^```", AUDIT.read_text(), re.DOTALL | re.MULTILINE)
    with closing(run(code)["audit"]) as audit:
        assert audit.who == b"x-forwarded-user"
    shown = [json.loads(line) for line in blocks(AUDIT, "json")[0].splitlines()]
    assert [line["event"] for line in shown] == ["sending", "outcome"]
    assert list(shown[0])[:3] == ["prev", "time", "event"]
    assert list(shown[0])[-1] == "line_sha256"
