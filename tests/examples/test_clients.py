"""The examples of clients with a person: on the terminal, and in a browser."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any
from unittest.mock import patch

import httpx
import pytest
from starlette.middleware.cors import CORSMiddleware
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from ap_resume_shim import Questions, ResumeShim, ReverseProxy
from ap_resume_shim.demo import create_app
from ap_resume_shim.demo.legacy_server.agents import AGENTS, Context
from ap_resume_shim.sidecar.reserved import ReservedPaths
from tests.browser.asking import Asking, question
from tests.browser.devtools import Page, browser
from tests.examples.running import commands, moved, run, server
from tests.servers.process import free_port
from tests.support.serving import serving
from tests.test_docs import asked_thread

QUESTION = "Deploy release 4.2 to production?"


class Breaking:
    """An app whose first resume loses its connection while the agent works, which it does until a retry is refused."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.working, self.retried = Event(), Event()
        self.running: asyncio.Future[None] | None = None

    async def agent(self, context: Context) -> None:
        """Asks, and works."""
        answer = await context.interrupt({"question": QUESTION})
        self.working.set()
        await happened(self.retried)
        context.update("finish", production=answer)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def noticed(message: Any) -> None:
            if message.get("status") == 409:
                self.retried.set()
            await send(message)

        if scope.get("method") != "PATCH" or self.running:
            await self.app(scope, receive, noticed)
            return
        request = [await receive()]

        async def leaving() -> Any:
            if request:
                return request.pop()
            await happened(self.working)
            return {"type": "http.disconnect"}

        self.running = asyncio.ensure_future(self.app(scope, leaving, lost))
        await happened(self.working)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"9")]})


async def happened(event: Event) -> None:
    """Wait for what another thread does."""
    while not event.is_set():
        await asyncio.sleep(0.01)


async def lost(message: Any) -> None:
    """Send nothing."""


def sidecar(upstream: str, *origins: str) -> ASGIApp:
    """The shim with its list of questions, for pages of these origins."""
    shim = ResumeShim(ReverseProxy(upstream), "agent-protocol", cors=list(origins))
    return ReservedPaths(shim, "/-", {"questions": Questions(shim, prefix="/-/questions", cors=list(origins))})


@contextmanager
def breaking(*origins: str) -> Iterator[str]:
    """Serve an agent that has asked, with the shim in front, and a connection that breaks; yields the shim's URL."""
    with serving(create_app()) as upstream, httpx.Client(base_url=upstream) as agents, patch.dict(AGENTS):
        app = Breaking(sidecar(upstream, *origins))
        AGENTS["works"] = app.agent
        agents.post("/runs/wait", json={"agent_id": "works", "input": {}}).raise_for_status()
        with serving(app) as url:
            yield url


def allowed(asking: Asking) -> ASGIApp:
    """The server of these questions, for pages of every origin."""
    return CORSMiddleware(asking.app(), allow_origins=["*"], allow_methods=["PATCH"], allow_headers=["*"])


def many_questions() -> ASGIApp:
    """A list of 25 questions, with two pages in front that have none."""
    return allowed(Asking([question(f"t-{number}", "Go on?") for number in range(25)], empty_pages=2))


def ended(folder: Path, url: str) -> subprocess.CompletedProcess[str]:
    """Run the client on the terminal, at the end of the input."""
    command = [sys.executable, "approve.py", url]
    return subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)


@pytest.mark.mutation("clients/approve.py", "json.loads(text)", "text")
def test_a_person_answers_on_the_terminal_by_json_or_a_text(examples: Path) -> None:
    folder, port = examples / "clients", free_port()
    agents, client = commands(folder / "approve.py", {8063: port})
    with server(agents, folder, f"http://127.0.0.1:{port}/-/readyz"):
        printed = run(client, folder, 'cheap\n[{"type": "approve"}]\n{"approved": true}\n')
        assert run(client, folder).splitlines() == ["0 pending"]
    assert printed.startswith("3 pending\napprove the budget?\nanswer: ")
    assert "'answer': 'cheap'" in printed
    assert "'sent': [{'to'" in printed
    assert "'production': '4.2'" in printed


@pytest.mark.mutation("clients/approve.py", '"Idempotency-Key": key', '"Idempotency-Key": str(uuid.uuid4())')
def test_an_answer_on_the_terminal_survives_a_connection_that_breaks_during_the_run(examples: Path) -> None:
    with breaking() as url:
        printed = run(f"python approve.py {url}", examples / "clients", "approve\n").splitlines()
    assert printed[2].startswith("answer: again, after ")
    assert printed[3:] == ["{'production': 'approve'}"]


@pytest.mark.mutation("clients/approve.py", 'page["next"]\n', "None\n")
def test_the_terminal_lists_the_questions_of_all_pages(examples: Path) -> None:
    with serving(many_questions()) as url:
        assert ended(examples / "clients", url).stdout.startswith("25 pending\nGo on?\n")


@pytest.mark.mutation("clients/approve.py", "sys.excepthook =", "unused =")
def test_the_client_on_the_terminal_ends_with_one_line(examples: Path) -> None:
    folder, nobody = examples / "clients", f"http://127.0.0.1:{free_port()}"
    with serving(many_questions()) as url:
        assert ended(folder, url).stderr == "EOFError: EOF when reading a line\n"
    assert ended(folder, nobody).stderr.startswith("ConnectError: ")
    assert len(ended(folder, nobody).stderr.splitlines()) == 1
    with serving(sidecar(nobody)) as url:
        assert ended(folder, url).stderr.startswith("The backend cannot be reached")


@pytest.mark.mutation("clients/approve.html", "box.disabled = false", "box.disabled = true")
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
            assert page.wait("document.querySelector('pre').textContent").startswith("Interrupt ")
            assert not page.evaluate("document.querySelector('fieldset').disabled")

            asked_thread(agents)
            page.open(address)
            page.fill(QUESTION, '{"approved": true}')
            page.click("Answer", times=2)
            page.sees('"production"')
            assert page.evaluate("document.querySelector('fieldset').disabled")
            assert page.errors == []


@contextmanager
def served(examples: Path) -> Iterator[tuple[Page, str]]:
    """Serve the page; yields a browser, and the page's origin."""
    with serving(StaticFiles(directory=examples / "clients")) as origin, browser() as page:
        yield page, origin


def show(page: Page, origin: str, examples: Path, shim: str) -> None:
    """Open the page, with the address of this shim."""
    file = examples / "clients/approve.html"
    file.write_text(re.sub('"http:[^"]+"', f'"{shim}"', file.read_text()))
    page.open(f"{origin}/approve.html")


@pytest.mark.mutation("clients/approve.html", '"idempotency-key":', '"x-key":')
def test_an_answer_in_a_browser_survives_a_connection_that_breaks_during_the_run(examples: Path) -> None:
    with served(examples) as (page, origin), breaking(origin) as shim:
        show(page, origin, examples, shim)
        page.fill(QUESTION, "approve")
        page.click("Answer")
        page.wait("document.querySelector('pre').textContent.startsWith('{')")
        assert '"production": "approve"' in page.text()


CALLS = {
    "action_requests": [{"name": name, "args": {}} for name in ("mail", "call")],
    "review_configs": [{"action_name": name, "allowed_decisions": ["approve", "reject"]} for name in ("mail", "call")],
}


@pytest.mark.mutation("clients/approve.html", "choice[item.$choice]", "choice.decision")
def test_a_person_decides_about_tool_calls_in_a_browser(examples: Path) -> None:
    app = Asking([question("t", CALLS)])
    with served(examples) as (page, origin), serving(allowed(app)) as shim:
        show(page, origin, examples, shim)
        page.click("approve")
        page.sees("Decide about the other calls, too.")
        page.fill("Message", "too late")
        page.click("reject", within="fieldset p:last-of-type")
        page.sees("ok")
    (answer,) = app.answers
    assert answer["input"] == {"decisions": [{"type": "approve"}, {"type": "reject", "message": "too late"}]}


@pytest.mark.mutation("clients/approve.html", "value: option.answer", "value: option.label")
def test_a_person_chooses_an_option_in_a_browser(examples: Path) -> None:
    app = Asking([question("t", "Go on?", {"type": "boolean"})])
    with served(examples) as (page, origin), serving(allowed(app)) as shim:
        show(page, origin, examples, shim)
        page.click("No")
        page.sees("ok")
    assert [answer["input"] for answer in app.answers] == [False]


@pytest.mark.mutation("clients/approve.html", 'typeof page.next === "string"', '"next" in page && !page.ok')
def test_the_page_lists_the_questions_of_all_pages(examples: Path) -> None:
    with served(examples) as (page, origin), serving(many_questions()) as shim:
        show(page, origin, examples, shim)
        page.sees("pending")
        assert page.text("p:last-of-type") == "25 pending"


@pytest.mark.mutation("clients/approve.html", "page.notes ?? [page.message]", "page.notes ?? []")
def test_the_page_says_what_does_not_respond(examples: Path) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    with served(examples) as (page, origin), serving(sidecar(nobody, origin)) as shim:
        show(page, origin, examples, nobody)
        page.sees(f"No response from {nobody}: ")
        show(page, origin, examples, shim)
        page.sees("The backend cannot be reached")
