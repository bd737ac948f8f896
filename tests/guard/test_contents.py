"""Contents of the ledger: for their owner alone, and unreadable in a store that others may read."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from redis.asyncio import Redis

from ap_resume_shim.core.steps import Entry, Reply
from ap_resume_shim.guard import ResumeKey
from ap_resume_shim.guard.contents import owned, seen_by
from ap_resume_shim.guard.redis import RedisGuard
from ap_resume_shim.guard.redis_ledger import FORMAT
from ap_resume_shim.guard.sealing import seal, unseal
from ap_resume_shim.runtime.traffic_observer import LedgerView
from tests.guard.conftest import Replicas, arrived, claims
from tests.support.redis_server import RedisServer

pytestmark = pytest.mark.anyio

MINE, THEIRS = LedgerView("t", "digest-of-mine"), LedgerView("t", "digest-of-yours")
SECRET = Entry({"run": "r1"}, {"state": {"token": "hunter2"}, "say": "\x00é😀", "n": [1, None]})


async def test_the_owner_reads_contents_and_others_read_facts(replicas: Replicas) -> None:
    for entry in (SECRET, Entry({"run": "r2"})):
        assert await replicas.one.ledger.note("t", owned(entry, MINE.owner))
    assert await MINE.read(replicas.other.ledger) == [Entry({"run": "r2"}), SECRET]
    assert await THEIRS.read(replicas.other.ledger) == [Entry({"run": "r2"}), Entry({"run": "r1"})]


async def test_what_is_noted_again_is_there_once(replicas: Replicas) -> None:
    for _ in range(2):
        await replicas.one.ledger.note("t", owned(SECRET, MINE.owner))
    assert await MINE.read(replicas.one.ledger) == [SECRET]


async def test_a_store_holds_no_contents_in_clear(store: RedisServer) -> None:
    guard, client = RedisGuard(store.url), Redis.from_url(store.url, decode_responses=True)
    await client.flushdb()
    await guard.ledger.note("t", owned(SECRET, MINE.owner))
    (key,) = await client.keys("*")
    (written,) = await client.lrange(key, 0, -1)
    assert str(key).endswith(FORMAT), "a format has its version in the key"
    assert json.loads(written)["facts"] == {"run": "r1"}
    assert not [word for word in ("hunter2", "token", "state", "digest-of-mine") if word in f"{written!s}{key!s}"]
    await guard.aclose()
    await client.aclose()


TOMORROW: list[Any] = [
    b"no JSON",
    b"\xff\x00",
    b"1",
    b"[]",
    b"{}",
    b'{"facts": []}',
    b'{"facts": {"run": "r2"}, "sealed": 1, "newer": 1}',
]


async def test_entries_of_tomorrow_are_read_as_far_as_they_can_be(store: RedisServer) -> None:
    guard, client = RedisGuard(store.url), Redis.from_url(store.url, decode_responses=True)
    await client.flushdb()
    await guard.ledger.note("t", owned(SECRET, MINE.owner))
    (key,) = await client.keys("*")
    (written,) = await client.lrange(key, 0, -1)
    richer = json.dumps(json.loads(written) | {"newer": {"than": "this"}})
    await client.rpush(key, *TOMORROW, richer)
    readable = [entry for entry in await MINE.read(guard.ledger) if entry != Entry({"run": "r2"})]
    assert readable == [SECRET, SECRET]
    await guard.aclose()
    await client.aclose()


def test_a_seal_is_opened_by_its_secret_alone() -> None:
    sealed = seal(b"plain", "secret")
    assert (unseal(sealed, "secret"), unseal(sealed, "other")) == (b"plain", None)
    assert sealed == seal(b"plain", "secret"), "an entry that is written twice is the same"
    for broken in (b"", b"x", sealed[:-1], b"x" + sealed[1:]):
        assert unseal(broken, "secret") is None


async def test_a_kept_answer_lies_in_the_store_for_its_caller_alone(store: RedisServer) -> None:
    guard, client = RedisGuard(store.url), Redis.from_url(store.url)
    await client.flushdb()
    ticket = ResumeKey("t", "body", key="k", secret="digest-of-mine")
    reply = Reply(200, {"values": {"token": "hunter2"}}, (("content-location", "/runs/r1"),))
    arrival = await arrived(guard, ticket)
    assert await claims(arrival)
    await arrival.mark_accepted("r1")
    await arrival.keep(reply)
    everything = [await client.hgetall(key) for key in await client.keys("*:k")]
    assert everything and not [
        word for word in (b"hunter2", b"content-location", b"mine") if word in str(everything).encode()
    ]
    found = await (await arrived(guard, ticket)).recall()
    other = await (await arrived(guard, replace(ticket, secret="digest-of-yours"))).recall()
    assert found and other and (found.reply, other.reply, other.run_id) == (reply, None, "r1")
    await guard.aclose()
    await client.aclose()


@pytest.mark.parametrize("kept", [None, 1, "facts", [], {"facts": 1}, {"contents": {}}])
def test_what_is_no_entry_is_skipped(kept: Any) -> None:
    assert seen_by("me", kept) is None
