"""Clients of the families: an answer works; of two clicks one is taken, and the client of the other shows why not."""

from __future__ import annotations

import re
import time
import uuid
from typing import Any

import pytest

from tests.clients.client import WHY, Client, refused
from tests.clients.place import Place, guarding_url
from tests.clients.program import Program
from tests.servers.process import free_port
from tests.support.faults import Fault, faulty, limit_data_once
from tests.support.waiting import eventually

UNSUPPORTED = "UnsupportedOperationError: "


A2A = ("--backend", "a2a", "--option", "public_url={sidecar}")
"""The client reads the card through the sidecar, and sends its messages where the card says."""


def a2a(binding: str, *, streaming: bool, server: str = "a2a", path: str = "") -> Client:
    card = ("--option", f"card={path}/.well-known/agent-card.json") if path else ()
    arguments = {"binding": binding, "streaming": streaming}
    options = (*A2A, *card)
    return Client("py/a2a_current.py", UNSUPPORTED, "answer", arguments, server, options, path)


def a2a_old(*, streaming: bool) -> Client:
    raises = "A2AClientJSONRPCError: JSON-RPC Error code=-32004 "
    return Client("py/a2a_old.py", raises, "answer", {"streaming": streaming}, "a2a-old", A2A)


def ag_ui(server: str, path: str = "/", *, entries: bool = True, yes: Any = "yes") -> Client:
    options = ("--backend", "ag-ui", "--option", f"path={path}")
    arguments = {"entries": entries, "value": yes}
    return Client("js/ag_ui.mjs", "Error: HTTP 409: ", "answer", arguments, f"ag-ui-{server}", options, path, yes=yes)


def agno(method: str, reason: Any) -> Client:
    raises, options = "HTTPStatusError: Client error '409 Conflict' for url", ("--backend", "agno")
    return Client("py/agentos.py", raises, "answer", {"method": method}, "agno", options, reason=reason, yes=True)


def acp(method: str) -> Client:
    return Client("py/acp.py", "ACPError: ", "answer", {"method": method}, "acp", ("--backend", "acp"))


def mastra(backend: str, function: str, method: str, yes: Any, **arguments: Any) -> Client:
    raises, given = "MastraClientError: HTTP error! status: 409 - ", {"method": method, **arguments}
    return Client("mastra/mastra.mjs", raises, function, given, "mastra", ("--backend", backend), yes=yes)


APPROVED = {"approved": True}
CLIENTS = {
    "a2a-send": a2a("JSONRPC 1.0", streaming=False),
    "a2a-stream": a2a("JSONRPC 1.0", streaming=True),
    "a2a-rest-send": a2a("HTTP+JSON 1.0", streaming=False, path="/rest"),
    "a2a-rest-stream": a2a("HTTP+JSON 1.0", streaming=True, path="/rest"),
    "a2a-0.3-send": a2a("JSONRPC 0.3", streaming=False),
    "a2a-0.3-stream": a2a("JSONRPC 0.3", streaming=True),
    "a2a-0.3-old-server-send": a2a("JSONRPC 0.3", streaming=False, server="a2a-old"),
    "a2a-0.3-old-server-stream": a2a("JSONRPC 0.3", streaming=True, server="a2a-old"),
    "a2a-old-send": a2a_old(streaming=False),
    "a2a-old-stream": a2a_old(streaming=True),
    "ag-ui-langgraph-command": ag_ui("langgraph", entries=False),
    "ag-ui-langgraph": ag_ui("langgraph", "/outcome"),
    "ag-ui-strands": ag_ui("strands"),
    "ag-ui-agent-framework": ag_ui("agent-framework"),
    "ag-ui-agent-framework-agent": ag_ui("agent-framework", "/agent", yes=APPROVED),
    "agno": agno("continue_agent_run", "response"),
    "agno-stream": agno("continue_agent_run_stream", "nowhere"),  # of a stream's response, this client has no body
    **{f"acp-{method}": acp(method) for method in ("run_resume_sync", "run_resume_async", "run_resume_stream")},
    "llamaindex": Client(
        "py/llamaindex.py",
        "HTTPStatusError: 409 Conflict for POST ",
        server="llamaindex",
        options=("--backend", "llamaindex"),
    ),
    **{
        f"mastra-{method}": mastra("mastra", "workflow", method, APPROVED, value=APPROVED)
        for method in ("resume", "resumeAsync", "resumeNoWait", "resumeStream")
    },
    **{
        f"mastra-agent-{method}": mastra("mastra-agent", "agent", method, True)
        for method in ("approveToolCall", "approveToolCallGenerate", "resumeStream")
    },
}
RESENDING = {name: CLIENTS[name] for name in ("mastra-resumeAsync", "mastra-agent-approveToolCall")}
"""Clients that send a request again after any 5xx, and after a broken connection."""
RESUMES = re.compile(rb"POST \S+/(resume|approve)")


def each(clients: dict[str, Client]) -> pytest.MarkDecorator:
    """Parametrise over clients; with xdist, the tests of one program run in one worker."""
    rows = [
        pytest.param(client, id=name, marks=pytest.mark.xdist_group(client.program)) for name, client in clients.items()
    ]
    return pytest.mark.parametrize("client", rows, indirect=True)


def answered(
    client: Client, run: Program, place: Place, scenario: str, count: int, pause: int = 0
) -> tuple[str, list[dict[str, Any]]]:
    """Click on the answer to a scenario, which is one request each time. Return the reference and the exceptions."""
    ref, before = uuid.uuid4().hex, place.answers()
    outcomes = client.answer(run, place.url, count, pause, ref=ref, scenario=scenario)["outcomes"]
    place.received(before + count)
    return ref, refused(outcomes)


def heard_once(client: Client, place: Place, ref: str) -> None:
    """Assert that an agent has received one answer, and waits for the next one."""
    eventually(lambda: len(place.noted(ref, "asked")) == 2, "the second question is asked")
    time.sleep(0.3)
    assert place.heard(ref) == [client.yes]


@each(CLIENTS)
def test_an_answer_works(client: Client, run: Program, place: Place) -> None:
    ref, errors = answered(client, run, place, "ask", 1)
    assert errors == []
    assert place.heard(ref) == [client.yes]


@each(CLIENTS)
@pytest.mark.parametrize("pause", [0, 50])
def test_of_two_clicks_one_is_taken_and_the_other_shows_why(
    client: Client, run: Program, place: Place, pause: int
) -> None:
    ref, (error,) = answered(client, run, place, "two", 2, pause)
    client.shows(error, *WHY)
    heard_once(client, place, ref)


@each(RESENDING)
def test_an_answer_is_sent_once_while_the_store_is_away(client: Client, run: Program, place: Place) -> None:
    with guarding_url(place.server, *client.options, "--guard", f"redis://127.0.0.1:{free_port()}/0") as without_store:
        ref, (error,) = answered(client, run, without_store, "two", 1)
    client.shows(error, '"code":"guard_unavailable"')
    assert place.noted(ref, "got") == []


@each(RESENDING)
@pytest.mark.parametrize("secs", [0.0, 1.5])
def test_an_answer_whose_response_is_lost_is_sent_again_and_refused(
    client: Client, run: Program, place: Place, secs: float
) -> None:
    """Also when the agent has asked its next question by then."""
    ref, before = uuid.uuid4().hex, place.answers()
    with faulty(place.url, Fault(limit_data_once, "from"), RESUMES) as network:
        (error,) = refused(client.answer(run, network.url, 1, ref=ref, scenario="two", secs=secs)["outcomes"])
    client.shows(error, *WHY, '"code":"thread_busy"')
    heard_once(client, place, ref)
    place.received(before + 2)


@each(RESENDING)
def test_an_answer_whose_server_breaks_off_is_sent_once(client: Client, run: Program, place: Place) -> None:
    with (
        faulty(place.server, Fault(limit_data_once, "from"), RESUMES) as network,
        guarding_url(network.url, *client.options, server=place.server) as behind,
    ):
        ref, (error,) = answered(client, run, behind, "two", 1)
    assert place.heard(ref) == [client.yes]
    client.shows(error, '"resume_state":"unknown"')
