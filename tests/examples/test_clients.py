"""The examples of clients with a person: on the terminal, and in a browser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from ap_resume_shim import ReverseProxy
from ap_resume_shim.demo import create_app
from tests.browser.devtools import browser
from tests.examples.running import commands, moved, run, server
from tests.servers.process import free_port
from tests.support.serving import serving
from tests.test_docs import asked_thread

QUESTION = "Deploy release 4.2 to production?"


class Broken:
    """An app whose first response to a PATCH is lost: the connection breaks after the head."""

    def __init__(self, app: ASGIApp) -> None:
        self.app, self.resumes = app, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope.get("method") == "PATCH":
            self.resumes += 1
            if self.resumes == 1:
                await self.app(scope, receive, lost)
                await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"9")]})
                return
        await self.app(scope, receive, send)


async def lost(message: Any) -> None:
    """Send nothing."""


@pytest.mark.mutation("clients/approve.py", '"Idempotency-Key": key', '"Idempotency-Key": str(uuid.uuid4())')
def test_a_person_answers_on_the_terminal_although_the_connection_breaks(examples: Path) -> None:
    folder, upstream, port = examples / "clients", free_port(), free_port()
    agents, shim, ask, client = commands(folder / "approve.py", {2024: upstream, 8063: port})
    with (
        server(agents, folder, f"http://127.0.0.1:{upstream}/agents/deploy"),
        server(shim, folder, f"http://127.0.0.1:{port}/-/readyz"),
        serving(proxy := Broken(ReverseProxy(f"http://127.0.0.1:{port}"))) as url,
    ):
        run(ask, folder)
        printed = run(client.replace(f"http://127.0.0.1:{port}", url), folder, "approve\n").splitlines()
        assert run(client, folder).splitlines() == ["0 pending"]
    assert printed[:2] == ["1 pending", QUESTION]
    assert printed[2].startswith("answer: again, after ")
    assert (proxy.resumes, "'production': '4.2'" in printed[3]) == (2, True), printed


@pytest.mark.mutation("clients/approve.html", "if (!response.ok)", "if (response.status === 500)")
def test_a_person_answers_in_a_browser(examples: Path) -> None:
    page_port, port, file = free_port(), free_port(), examples / "clients/approve.html"
    file.write_text(moved(file.read_text(), {8000: page_port, 8063: port}))
    with serving(create_app()) as upstream, httpx.Client(base_url=upstream) as agents, browser() as page:
        shim, pages = commands(file, {2024: int(upstream.rpartition(":")[2])})
        address = f"http://127.0.0.1:{page_port}/approve.html"
        with server(shim, file.parent, f"http://127.0.0.1:{port}/-/readyz"), server(pages, file.parent, address):
            thread = asked_thread(agents)
            page.open(address)
            page.fill(QUESTION, "approve")
            another = {"thread_id": thread, "input": {"command": {"resume": "reject"}}}
            assert agents.post("/runs/wait", json=another).status_code == 200
            page.click("Answer")
            assert page.wait("document.querySelector('pre').textContent").startswith("Refused: Interrupt ")

            asked_thread(agents)
            page.open(address)
            page.fill(QUESTION, "approve")
            page.click("Answer", times=2)
            page.sees('"production"')
            assert "Refused" not in page.text()
            assert page.errors == []
