"""The other fields of a resume: who runs, with which configuration, and what happens to the thread afterwards."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from ap_resume_shim.core.protocol import Mode
from tests.e2e.placements import GRAPHS
from tests.support.waiting import eventually
from tests.support.world import World


def test_agent_id_may_be_the_agents_name(world: World, mode: Mode) -> None:
    thread = world.thread("ask")
    assert world.resume(mode, thread, input="yes", agent_id="ask").status == 200
    assert world.values(thread)["answer"] == "yes"


def test_agent_id_may_be_the_agents_id(world: World, mode: Mode) -> None:
    thread = world.thread("ask")
    assert world.resume(mode, thread, input="yes", agent_id=world.driver.agent_id("ask")).status == 200
    assert world.values(thread)["answer"] == "yes"


@pytest.mark.parametrize("agent", ["nobody", "6a1b2c3d-0000-4000-8000-000000000000"])
def test_an_unknown_agent_is_404(world: World, mode: Mode, agent: str) -> None:
    thread = world.thread("ask")
    outcome = world.resume(mode, thread, input="yes", agent_id=agent)
    assert (outcome.status, outcome.code) == (404, "agent_not_found")
    assert len(world.run_requests(thread)) == 1
    assert world.resume(mode, thread, input="yes").status == 200


@pytest.mark.on(*GRAPHS)  # the legacy server resumes whatever agent waits
def test_an_agent_of_another_graph_is_refused(world: World, mode: Mode) -> None:
    thread = world.thread("ask")
    outcome = world.resume(mode, thread, input="yes", agent_id="two")
    assert (outcome.status, outcome.code) == (422, "invalid_request")
    assert len(world.run_requests(thread)) == 1
    assert world.driver.status(thread) == "interrupted"


@pytest.mark.on(*GRAPHS)  # agents are not told by metadata there
def test_a_thread_whose_metadata_was_overwritten_keeps_its_agent(world: World, mode: Mode) -> None:
    thread = world.thread("ask")
    wrong = {"graph_id": "two", "assistant_id": world.driver.agent_id("two")}
    world.client.patch(f"/threads/{thread}", json={"metadata": wrong})
    assert world.resume(mode, thread, input="yes").status == 200
    assert world.values(thread)["answer"] == "yes"


def test_metadata_and_config_reach_the_run(world: World, mode: Mode) -> None:
    thread = world.thread("cfg")
    outcome = world.resume(
        mode,
        thread,
        input="look",
        metadata={"ticket": "T-1"},
        config={"tags": ["red"], "configurable": {"flavour": "mint"}},
    )
    assert outcome.status == 200, outcome.response.text
    seen = json.dumps(world.values(thread))
    assert "mint" in seen
    if mode is not Mode.STREAM:
        assert outcome.run["metadata"] == {"ticket": "T-1"}


def test_unknown_fields_go_on_to_langgraph_and_are_ignored_elsewhere(world: World, mode: Mode) -> None:
    thread = world.thread("ask")
    assert world.resume(mode, thread, input="yes", x_unknown={"a": 1}).status == 200
    sent = world.run_requests(thread)[-1]["body"]
    assert sent.get("x_unknown") == ({"a": 1} if world.driver.name in GRAPHS else None)


@pytest.mark.parametrize("field", ["answer", "inputs", "Input", "resume", "value", "x_answer"])
def test_a_misspelt_answer_never_becomes_null(world: World, mode: Mode, field: str) -> None:
    thread = world.thread("ask")
    body: dict[str, Any] = {field: "approve"}
    outcome = world.resume(mode, thread, **body)
    assert (outcome.status, outcome.code) == (422, "invalid_request")
    assert len(world.run_requests(thread)) == 1
    assert world.resume(mode, thread, input="approve").status == 200
    assert world.values(thread)["answer"] == "approve"


def test_a_misspelt_pin_is_refused(world: World, mode: Mode) -> None:
    thread = world.thread("ask")
    outcome = world.resume(mode, thread, input="approve", interuptId="another")
    assert (outcome.status, outcome.code) == (422, "invalid_request")
    assert "`interrupt_id`" in outcome.response.json()["message"]
    assert world.driver.status(thread) == "interrupted"


def test_an_empty_list_of_messages_counts_as_absent(world: World, mode: Mode) -> None:
    thread = world.thread("ask")
    assert world.resume(mode, thread, input="approve", messages=[]).status == 200
    assert world.values(thread)["answer"] == "approve"


@pytest.mark.on(*GRAPHS)
def test_fields_of_the_servers_own_vocabulary_are_no_misspelt_answer(world: World, mode: Mode) -> None:
    thread = world.thread("ask")
    assert world.resume(mode, thread, durability="exit", context={}).status == 200
    assert world.run_requests(thread)[-1]["body"]["durability"] == "exit"


@pytest.mark.parametrize("field", ["command", "if_not_exists", "multitask_strategy"])
def test_create_run_vocabulary_is_refused(world: World, mode: Mode, field: str) -> None:
    thread = world.thread("ask")
    body: dict[str, Any] = {"input": "yes", field: "x"}
    outcome = world.resume(mode, thread, **body)
    assert (outcome.status, outcome.code) == (422, "unsupported_field")
    assert len(world.run_requests(thread)) == 1


def test_on_completion_delete_removes_the_thread_after_the_run(world: World, mode: Mode) -> None:
    thread = world.thread("ask")
    assert world.resume(mode, thread, input="yes", on_completion="delete").status == 200
    eventually(lambda: not world.driver.exists(thread), "the thread is deleted")


def test_on_completion_delete_spares_a_thread_that_asks_again(world: World, mode: Mode) -> None:
    thread = world.thread("two")
    assert world.resume(mode, thread, input="first", on_completion="delete").status == 200
    assert world.resume(mode, thread, input="second", on_completion="delete").status == 200
    eventually(lambda: not world.driver.exists(thread), "the thread is deleted in the end")


def test_a_webhook_is_called_or_refused(world: World, mode: Mode) -> None:
    thread = world.thread("ask")
    with _Hook() as hook:
        outcome = world.resume(mode, thread, input="yes", webhook=hook.url)
        if world.driver.name == "aegra":
            assert (outcome.status, outcome.code) == (422, "unsupported_field")
            assert len(world.run_requests(thread)) == 1
        elif world.driver.name in DELIVERS:
            assert outcome.status == 200, outcome.response.text
            eventually(lambda: hook.calls, "the webhook is called")
        else:
            assert world.run_requests(thread)[-1]["body"]["webhook"] == hook.url


DELIVERS = ("langgraph",)
"""Servers that were seen to call a webhook on the loopback interface."""


class _Hook:
    """A server that remembers what was posted to it."""

    def __init__(self) -> None:
        self.calls: list[Any] = []
        calls = self.calls

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                calls.append(self.rfile.read(int(self.headers["content-length"])))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook"

    def __enter__(self) -> _Hook:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
