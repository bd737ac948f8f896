"""LangGraph's SDKs: an answer works; of two clicks one is taken, and the client of the other shows why not."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest

from tests.clients.client import WHY, Client, refused
from tests.clients.place import Place, guarding_url
from tests.clients.program import Program
from tests.servers.process import free_port
from tests.support.faults import Fault, faulty, limit_data_once
from tests.support.waiting import eventually

PYTHON, JAVASCRIPT = "py/langgraph.py", "js/langgraph.mjs"
NOTE = "HTTPStatusError: Client error '409 Conflict' for url"
"""The reason is a note of this exception, which a traceback shows."""


def row(program: str, raises: str, function: str, method: str, reason: Any = "text") -> Client:
    return Client(program, raises, function, {"method": method}, reason=reason)


CLIENTS = {
    "python-create": row(PYTHON, "ConflictError: ", "runs", "create"),
    "python-wait": row(PYTHON, NOTE, "runs", "wait", "traceback"),
    "python-stream": row(PYTHON, "ConflictError: ", "runs", "stream"),
    "python-respond": row(PYTHON, "RuntimeError: Protocol error [no_such_interrupt]: ", "commands", "respond"),
    "python-start": row(PYTHON, "RuntimeError: Protocol error [no_such_interrupt]: ", "commands", "start"),
    "javascript-create": row(JAVASCRIPT, "HTTPError: HTTP 409: ", "runs", "create"),
    "javascript-wait": row(JAVASCRIPT, "HTTPError: HTTP 409: ", "runs", "wait"),
    "javascript-stream": row(JAVASCRIPT, "HTTPError: HTTP 409: ", "runs", "stream"),
    "javascript-respond": row(JAVASCRIPT, "ProtocolError: ", "commands", "respond"),
    "javascript-start": row(JAVASCRIPT, "ProtocolError: ", "commands", "start"),
}
RUNS = re.compile(rb"POST /threads/[^/]+/runs ")
each = pytest.mark.parametrize("client", CLIENTS.values(), ids=CLIENTS.keys(), indirect=True)


def first_gate(place: Place, thread: str) -> None:
    """Assert that the graph has received one answer, and waits for the next one."""
    eventually(lambda: place.values(thread).get("runs") == 1, "the first question is answered")
    time.sleep(0.3)
    assert place.values(thread) == {"topic": "lunch", "secs": 0, "answer": "yes", "runs": 1}


@each
def test_an_answer_works(client: Client, run: Program, place: Place) -> None:
    outcome = client.answer(run, place.url, 1, graph="ask")
    assert refused(outcome["outcomes"]) == []
    first_gate(place, outcome["thread"])


@each
@pytest.mark.parametrize("pause", [0, 50])
def test_of_two_clicks_one_is_taken_and_the_other_shows_why(
    client: Client, run: Program, place: Place, pause: int
) -> None:
    outcome = client.answer(run, place.url, 2, pause, graph="two")
    (error,) = refused(outcome["outcomes"])
    client.shows(error, *WHY)
    first_gate(place, outcome["thread"])


@pytest.mark.parametrize("client", [CLIENTS["python-create"], CLIENTS["javascript-wait"]], indirect=True)
def test_an_answer_is_sent_once_while_the_store_is_away(client: Client, run: Program, place: Place) -> None:
    with guarding_url(place.server, *client.options, "--guard", f"redis://127.0.0.1:{free_port()}/0") as without_store:
        outcome = client.answer(run, without_store.url, 1, graph="two")
        without_store.received(1)
    (error,) = refused(outcome["outcomes"])
    client.shows(error, "store")
    assert "runs" not in place.values(outcome["thread"])


@pytest.mark.parametrize("client", [CLIENTS["javascript-create"]], indirect=True)
def test_what_an_older_sdk_sends_again_answers_no_other_question(client: Client, run: Program, place: Place) -> None:
    """Version 1.11 does so one to two seconds after a broken connection."""
    with (
        guarding_url(place.server, *client.options, "--duplicate-window", "3") as patient,
        faulty(patient.url, Fault(limit_data_once, "from"), RUNS) as network,
    ):
        outcome = client.answer(run, network.url, 1, graph="two", server=place.server, old=True)
        patient.received(2)
    (error,) = refused(outcome["outcomes"])
    client.shows(error, *WHY)
    first_gate(place, outcome["thread"])
