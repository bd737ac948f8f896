"""The examples for an app of your own, for LangGraph's server and its clients, and for a backend in a package."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.examples.running import commands, run, server
from tests.servers.process import free_port
from tests.servers.run import start
from tests.support.calling import CLIENT
from tests.test_docs import ROOT


@pytest.mark.mutation("fastapi/tickets.toml", 'interrupt = "/ticket/question"', 'interrupt = "/ticket/answers"')
def test_an_app_with_its_own_convention_is_guarded(examples: Path) -> None:
    port, folder = free_port(), examples / "fastapi"
    serve, *curl = commands(folder / "tickets_app.py", {8063: port})
    with server(serve, folder, f"http://127.0.0.1:{port}/tickets/1"):
        _, first, second = (json.loads(run(command, folder)) for command in curl)
    assert first["values"] == {"number": "1", "state": "done", "question": None, "answers": ["yes"]}
    assert second.get("code") == "thread_not_interrupted"


@pytest.mark.mutation("backend-package/pyproject.toml", '"ap_resume_shim.backends"', '"ap_resume_shim.backend"')
def test_a_backend_in_a_package_is_found_and_recognises_its_server(examples: Path) -> None:
    folder, upstream, port = examples / "backend-package", free_port(), free_port()
    shown, agents, shim = commands(folder / "pyproject.toml", {9000: upstream})
    run("uv pip install --quiet --no-deps --target installed .", folder)
    path = str(folder / "installed")
    assert "The number of a ticket." in run(f"PYTHONPATH={path} {shown}", folder)
    url = f"http://127.0.0.1:{port}"
    with (
        server(agents, folder, f"http://127.0.0.1:{upstream}/tickets/1"),
        server(f"{shim} --port {port}", folder, f"{url}/-/readyz", PYTHONPATH=path),
    ):
        assert CLIENT.get(f"{url}/-/readyz").json()["backend"] == "tickets"
        CLIENT.post(f"{url}/tickets", json={"question": "Refund order 17?"})
        clicks = [CLIENT.patch(f"{url}/runs/resume/wait", json={"thread_id": "1", "input": "yes"}) for _ in range(2)]
        assert [click.status_code for click in clicks] == [200, 409]
        assert CLIENT.get(f"{url}/tickets/1").json()["answers"] == ["yes"]


@pytest.mark.mutation("langgraph/langgraph.json", '"http"', '"https"')
def test_langgraphs_server_has_the_routes(examples: Path) -> None:
    with start("langgraph", app=examples / "langgraph") as langgraph:
        thread = CLIENT.post(f"{langgraph.url}/threads", json={}).json()["thread_id"]
        run = {"assistant_id": "deploy", "input": {"release": "4.2"}}
        CLIENT.post(f"{langgraph.url}/threads/{thread}/runs/wait", json=run)
        body = {"thread_id": thread, "input": "approve"}
        response = CLIENT.patch(f"{langgraph.url}/runs/resume/wait", json=body)
        assert (response.status_code, response.json().get("values")) == (200, {"release": "4.2", "deployed": "approve"})
        assert "/runs/resume/wait" in CLIENT.get(f"{langgraph.url}/openapi.json").json()["paths"]


@pytest.fixture(scope="module")
def langgraph() -> Iterator[str]:
    """The server of the example."""
    with start("langgraph", app=ROOT / "examples/langgraph") as server:
        yield server.url


QUESTION = "Deploy release 4.2?"
ONE = {"release": "4.2", "deployed": "approve"}


def client(file: Path, url: str) -> list[str]:
    """The lines that a client prints."""
    (command,) = commands(file)
    return run(command.replace("http://127.0.0.1:2024", url), file.parent).splitlines()


def test_before_the_migration_the_second_click_answers_the_next_question(langgraph: str) -> None:
    printed = client(ROOT / "examples/migrate/before.py", langgraph)
    assert printed == [QUESTION, f"first click: {ONE}", f"second click: {ONE | {'deleted': 'approve'}}"]


@pytest.mark.mutation("migrate/after.py", ', "interrupt_id": question["id"]', "")
def test_after_the_migration_the_second_click_is_refused(examples: Path, langgraph: str) -> None:
    question, first, second = client(examples / "migrate/after.py", langgraph)
    assert (question, first) == (QUESTION, f"first click: {ONE}")
    assert second.startswith("second click: refused, Interrupt ")
