"""Every resume of the benchmark with several sidecars is sent once, and costs Redis a constant number of calls."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from benchmarks.scale import Stage, stage
from benchmarks.scale_origin import Threads, parse
from benchmarks.scale_store import encoded, recording, replay
from tests.support.redis_server import RedisServer, need_redis, redis_server

CALLS = 4
"""`begin`, `claim`, `mark_accepted` and `mark_committed`."""


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    need_redis()
    with redis_server() as server:
        yield server


@pytest.fixture(scope="module")
def on(server: RedisServer) -> Iterator[Stage]:
    with stage(server, 2) as made:
        yield made


def test_each_thread_is_resumed_once_over_all_sidecars(on: Stage) -> None:
    before = on.counts()
    made = on.round(on.urls, 48)
    assert len(made.latencies) == 48
    assert on.counts() == {name: count + 48 for name, count in before.items()}
    assert made.calls == 48 * CALLS


def test_a_sidecar_with_the_guard_in_memory_makes_no_call_to_redis(on: Stage) -> None:
    assert on.round([on.alone], 16).calls == 0


def test_a_thread_that_was_resumed_twice_is_an_error(on: Stage) -> None:
    on.resumed -= 1
    with pytest.raises(RuntimeError, match="threads were resumed"):
        on.round(on.urls, 16)
    on.resumed += 1


def test_the_calls_of_a_resume_are_recorded_and_replayed_for_other_threads(on: Stage, server: RedisServer) -> None:
    with recording(server.port) as record:
        on.round(on.urls[:1], 1)
    assert [call[0] for call in record()] == ["EVALSHA"] * CALLS
    asyncio.run(replay(server, record(), resumes=40))
    assert len(on.store.keys("*{replay-*}:hold")) == 40


def test_a_call_is_encoded_for_another_thread_without_a_deadline() -> None:
    call = ["EVALSHA", "{aa}:hold", "1796021281335738"]
    assert encoded(call, "t").split(b"\r\n")[4::2] == [b"{t}:hold", b"9007199254740992"]


def test_the_origin_asks_until_the_first_resume() -> None:
    threads = Threads()
    assert threads.respond("GET", "/threads/t", b"")["status"] == "interrupted"
    for _ in range(2):
        threads.respond("POST", "/runs", b'{"thread_id": "t"}')
    assert threads.respond("GET", "/threads/t", b"")["status"] == "idle"
    assert threads.respond("GET", "/counts", b"") == {"resumes": 2, "threads": 1}


def test_a_message_is_read_when_its_body_is_complete() -> None:
    message = b"POST /runs HTTP/1.1\r\nContent-Length: 2\r\n\r\nok"
    assert [parse(message[:end]) for end in (10, len(message) - 1)] == [None, None]
    assert parse(message) == (message[:-6], b"ok")
