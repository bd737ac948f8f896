"""The symptoms on the page about troubleshooting are what clients see."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest
from fastapi import FastAPI

from ap_resume_shim import ResumeShim, ReverseProxy
from ap_resume_shim.guard import load_guard
from tests.servers.process import free_port
from tests.support.agent import PROTOCOL, Agent, resume, waits
from tests.support.calling import CLIENT
from tests.support.serving import serving
from tests.test_docs import ROOT, blocks

PAGE = ROOT / "docs/how-to/troubleshoot.md"


def shown(response: httpx.Response) -> str:
    """A response as the page shows it."""
    if '"code"' not in response.text:
        return f"{response.status_code} {response.text}"
    body = response.json()
    state = body["metadata"].get("resume_state") if response.status_code == 502 else None
    return f"{response.status_code} {body['code']}{f', {state}' if state else ''}: {body['message']}"


@pytest.fixture(scope="module")
def symptoms() -> Iterator[list[str]]:
    """The responses to resumes that go wrong in every way of the page."""
    with ExitStack() as stack:

        def served(app: Agent | FastAPI | ReverseProxy, **options: object) -> str:
            shim = ResumeShim(app, **{"backend": PROTOCOL, "settle": 0.0, **options})  # type: ignore[arg-type]
            return stack.enter_context(serving(shim))

        store = load_guard(f"redis://127.0.0.1:{free_port()}/0", timeout=0.2, lease=3)
        cut = Agent(waits(b'{"run": {"run_id": "r2"', ConnectionError("cut")))
        yield [
            shown(response)
            for response in (
                CLIENT.post(f"{served(FastAPI())}/runs/resume", json={}),
                resume(served(Agent()), thread_id="unknown"),
                resume(served(Agent(), backend="auto")),
                resume(served(ReverseProxy(f"http://127.0.0.1:{free_port()}"))),
                resume(served(Agent(status="idle"))),
                resume(served(Agent(status="busy"))),
                resume(served(Agent(), guard=store)),
                resume(served(ReverseProxy(stack.enter_context(serving(cut)))), "/wait"),
            )
        ]


def test_each_symptom_is_real(symptoms: list[str]) -> None:
    for block in blocks(PAGE, "text"):
        for line in block.splitlines():
            start, _, end = line.partition(": ")
            assert any(each.startswith(start) and end in each for each in symptoms), f"{line}\n" + "\n".join(symptoms)


def test_an_id_that_another_kind_of_backend_would_not_have_is_422() -> None:
    with serving(ResumeShim(Agent(), "langgraph")) as url:
        assert shown(resume(url)).startswith("422 invalid_request: `thread_id` is not a UUID")


@pytest.mark.parametrize(("method", "path"), [("POST", "/runs/resume"), ("PATCH", "/runs/resume/"), ("PATCH", "/x")])
def test_what_the_shim_does_not_take_for_a_resume_has_no_code(method: str, path: str) -> None:
    with serving(ResumeShim(FastAPI(), PROTOCOL)) as url:
        assert shown(CLIENT.request(method, url + path, json={})) == '404 {"detail":"Not Found"}'
