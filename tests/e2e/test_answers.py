"""What a client gets: the draft's Run, RunWaitResponse, and a live stream."""

from __future__ import annotations

import itertools
import time
from datetime import datetime

import pytest

from ap_resume_shim.core.protocol import Mode
from ap_resume_shim.core.sse import Decoder
from tests.e2e.placements import GRAPHS
from tests.support.world import World

REQUIRED = {"run_id", "created_at", "updated_at", "status", "metadata"}
"""What the draft demands of a `Run`."""


@pytest.mark.modes(Mode.BACKGROUND, Mode.WAIT)
def test_the_run_has_every_required_field(world: World, mode: Mode) -> None:
    thread = world.thread("ask")
    outcome = world.resume(mode, thread, input="yes")
    run = outcome.run
    assert set(run) >= REQUIRED | {"thread_id", "agent_id"}
    assert run["status"] == ("pending" if mode is Mode.BACKGROUND else "success")
    assert run["thread_id"] == thread
    assert datetime.fromisoformat(run["created_at"]) <= datetime.fromisoformat(run["updated_at"])
    assert "kwargs" not in run


def test_the_run_is_one_that_the_backend_knows(world: World, mode: Mode) -> None:
    thread = world.thread("ask")
    outcome = world.resume(mode, thread, input="yes")
    assert outcome.run_id == world.driver.runs(thread)[0]["run_id"]


def test_content_location_leads_to_the_run(world: World, mode: Mode) -> None:
    thread = world.thread("ask")
    outcome = world.resume(mode, thread, input="yes")
    location = outcome.response.headers["content-location"]
    found = world.client.get(outcome.response.url.join(location))
    assert found.json()["run_id"] == outcome.run_id


def test_wait_answers_with_run_and_values(world: World) -> None:
    thread = world.thread("ask")
    answer = world.resume(Mode.WAIT, thread, input="yes").response.json()
    assert answer["values"] == {"topic": "lunch", "answer": "yes", "runs": 1}
    assert not [key for key in answer["values"] if key.startswith("__")]


def test_wait_lifts_messages_out_of_the_values_as_the_drafts_messages(world: World) -> None:
    thread = world.thread("msgs")
    answer = world.resume(Mode.WAIT, thread, input="yes").response.json()
    said = answer["messages"][-1]
    assert (said["role"], said["content"], "type" in said) == (
        "ai" if world.driver.name in GRAPHS else "assistant",
        'answer: "yes"',
        False,
    )
    assert "messages" not in answer["values"]


def test_a_wait_that_ends_at_the_next_question_says_so(world: World) -> None:
    thread = world.thread("two")
    outcome = world.resume(Mode.WAIT, thread, input="first")
    assert outcome.run["status"] == "interrupted"
    (asked,) = outcome.run["metadata"]["interrupts"]
    assert "question" in asked["value"]
    assert outcome.response.json()["values"]["answer"] == "first"


def test_a_stream_begins_with_the_run_and_has_the_modes_asked_for(world: World) -> None:
    thread = world.thread("ask")
    outcome = world.resume(Mode.STREAM, thread, input="yes", stream_mode=["values", "updates"])
    names = [name for name, _ in outcome.events]
    assert names[0] == "metadata"
    assert {"values", "updates"} <= set(names)
    assert outcome.events[-1][1] == {"status": "success"} or "yes" in str(outcome.events[-1][1])


def test_stream_headers_keep_proxies_from_buffering(world: World) -> None:
    thread = world.thread("ask")
    headers = world.resume(Mode.STREAM, thread, input="yes").response.headers
    assert headers["content-type"].startswith("text/event-stream")
    assert headers["cache-control"] == "no-store, no-transform"
    assert headers["x-accel-buffering"] == "no"
    assert headers["incremental"] == "?1"


def test_a_message_stream_has_events_called_messages(world: World) -> None:
    thread = world.thread("msgs")
    outcome = world.resume(Mode.STREAM, thread, input="yes", stream_mode="messages")
    assert "messages" in [name for name, _ in outcome.events]


def test_a_stream_is_live(world: World) -> None:
    """The agent emits five events, 0.3 s apart: they come apart, not together at its end."""
    thread = world.thread("steps")
    arrivals, decoder = [], Decoder()
    body = {"thread_id": thread, "input": "go", "stream_mode": "custom"}
    with world.client.stream("PATCH", Mode.STREAM.route, json=body) as response:
        for chunk in response.iter_raw():
            arrivals += [time.monotonic() for event in decoder.feed(chunk) if event.name == "custom"]
    assert len(arrivals) == 5
    assert max(later - earlier for earlier, later in itertools.pairwise(arrivals)) > 0.1
    assert arrivals[-1] - arrivals[0] > 0.6


def test_errors_are_problems_where_the_client_asks_for_them(world: World, mode: Mode) -> None:
    outcome = world.resume(mode, world.driver.unknown(), headers={"Accept": "application/problem+json, */*"}, input=1)
    assert outcome.response.headers["content-type"] == "application/problem+json"
    problem = outcome.response.json()
    assert (problem["status"], problem["code"]) == (404, "thread_not_found")
