"""Clients of the families: an answer works, and of two clicks one is taken and the other's client shows why not."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.clients.place import Place, guarding
from tests.clients.program import Program, program
from tests.support.waiting import eventually


@dataclass(frozen=True)
class Client:
    """A client, the server and sidecar in front of which it runs, and the exception that its user sees."""

    program: str
    server: str
    options: tuple[str, ...]
    raises: str
    """The class of the exception for a refused answer, and the text in front of the reason."""
    function: str = "answer"
    path: str = ""
    arguments: dict[str, Any] = field(default_factory=dict)
    yes: Any = "yes"
    """What the agent receives."""


def a2a(binding: str, streaming: bool, raises: str, *, sdk: str = "current", server: str = "a2a", path: str = "") -> Client:
    arguments = {"binding": binding, "streaming": streaming}
    options = ("--backend", "a2a", *(("--option", f"card={path}/.well-known/agent-card.json") if path else ()))
    return Client(f"py/a2a_{sdk}.py", server, options, raises, path=path, arguments=arguments)


def ag_ui(server: str, path: str = "", *, entries: bool = True, yes: Any = "yes") -> Client:
    options = ("--backend", "ag-ui", *(("--option", f"path={path}") if path else ()))
    arguments = {"entries": entries, "value": yes}
    return Client("js/ag_ui.mjs", f"ag-ui-{server}", options, "Error: HTTP 409: ", path=path or "/", arguments=arguments, yes=yes)


def mastra(function: str, method: str) -> Client:
    backend = "mastra" if function == "workflow" else "mastra-agent"
    yes: Any = {"approved": True} if function == "workflow" else True
    arguments = {"method": method, **({"value": yes} if function == "workflow" else {})}
    return Client(
        "mastra/mastra.mjs",
        "mastra",
        ("--backend", backend),
        "MastraClientError: HTTP error! status: 409",
        function,
        arguments=arguments,
        yes=yes,
    )


RPC, REST, OLD = "JSONRPC 1.0", "HTTP+JSON 1.0", "JSONRPC 0.3"
UNSUPPORTED = "UnsupportedOperationError: "
CLIENTS = {
    "a2a-jsonrpc-send": a2a(RPC, False, UNSUPPORTED),
    "a2a-jsonrpc-stream": a2a(RPC, True, UNSUPPORTED),
    "a2a-rest-send": a2a(REST, False, UNSUPPORTED, path="/rest"),
    "a2a-rest-stream": a2a(REST, True, UNSUPPORTED, path="/rest"),
    "a2a-jsonrpc-0.3-send": a2a(OLD, False, "x"),
    "a2a-jsonrpc-0.3-stream": a2a(OLD, True, "x"),
    "a2a-to-old-send": a2a(OLD, False, "x", server="a2a-old"),
    "a2a-to-old-stream": a2a(OLD, True, "x", server="a2a-old"),
    "a2a-old-send": a2a(OLD, False, "x", sdk="old", server="a2a-old"),
    "a2a-old-stream": a2a(OLD, True, "x", sdk="old", server="a2a-old"),
    "ag-ui-langgraph-command": ag_ui("langgraph", entries=False),
    "ag-ui-langgraph-entries": ag_ui("langgraph", "/outcome"),
    "ag-ui-strands": ag_ui("strands"),
    "ag-ui-agent-framework": ag_ui("agent-framework"),
    "ag-ui-agent-framework-agent": ag_ui("agent-framework", "/agent", yes={"approved": True}),
    "agno-wait": Client("py/agentos.py", "agno", ("--backend", "agno"), "HTTPStatusError: ", arguments={"method": "continue_agent_run"}, yes=True),
    "agno-stream": Client("py/agentos.py", "agno", ("--backend", "agno"), "HTTPStatusError: ", arguments={"method": "continue_agent_run_stream"}, yes=True),
    **{f"mastra-{method}": mastra("workflow", method) for method in ("resume", "resumeAsync", "resumeNoWait", "resumeStream")},
    **{
        f"mastra-agent-{method}": mastra("agent", method)
        for method in ("approveToolCall", "approveToolCallGenerate", "resumeStream")
    },
}


@pytest.fixture(scope="session")
def running() -> Iterator[dict[Any, Any]]:
    """The sidecars and clients that run."""
    with ExitStack() as stack:
        yield {ExitStack: stack}


@pytest.fixture(params=[pytest.param(client, id=name, marks=pytest.mark.xdist_group(client.program)) for name, client in CLIENTS.items()])
def client(request: pytest.FixtureRequest) -> Client:
    made: Client = request.param
    return made


@pytest.fixture
def place(client: Client, running: dict[Any, Any]) -> Place:
    key = (client.server, client.options)
    if key not in running:
        running[key] = running[ExitStack].enter_context(guarding(client.server, *client.options))
    made: Place = running[key]
    return made


@pytest.fixture
def run(client: Client, running: dict[Any, Any]) -> Program:
    if client.program not in running:
        running[client.program] = running[ExitStack].enter_context(program(client.program))
    made: Program = running[client.program]
    return made


def answered(client: Client, run: Program, place: Place, scenario: str, count: int, pause: int = 0) -> Any:
    """Start a scenario, and click on its answer; the reference of the thread, and the outcomes."""
    ref = uuid.uuid4().hex
    outcome = run.call(
        client.function, url=f"{place.url}{client.path}", ref=ref, scenario=scenario, count=count, pause=pause, **client.arguments
    )
    return ref, outcome


def test_an_answer_works(client: Client, run: Program, place: Place) -> None:
    before = place.answers()
    ref, outcome = answered(client, run, place, "ask", 1)
    assert "error" not in outcome["outcomes"][0], outcome
    assert place.heard(ref) == [client.yes]
    eventually(lambda: place.answers() == before + 1, "the answer is counted")


@pytest.mark.parametrize("pause", [0, 50])
def test_of_two_clicks_one_is_taken_and_the_other_shows_why(client: Client, run: Program, place: Place, pause: int) -> None:
    before = place.answers()
    ref, outcome = answered(client, run, place, "two", 2, pause)
    print(outcome)
    errors = [one["error"] for one in outcome["outcomes"] if "error" in one]
    assert len(errors) == 1, outcome
    eventually(lambda: len(place.noted(ref, "asked")) == 2, "the second question is asked")
    time.sleep(0.3)
    assert place.heard(ref) == [client.yes]
    eventually(lambda: place.answers() == before + 2, "both are counted")
    shown = f"{errors[0]['class']}: {errors[0]['text']}"
    print("SHOWN", shown)
    assert shown.startswith(client.raises)
