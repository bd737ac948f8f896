"""What is wrong with a store in Redis: said by name, where trying again does not help."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from ap_resume_shim import ConfigurationError
from ap_resume_shim.core.errors import GuardMisconfigured, GuardUnavailable
from ap_resume_shim.core.steps import Reply
from ap_resume_shim.guard import Guard, ResumeKey, load_guard
from ap_resume_shim.guard.redis import RedisGuard
from ap_resume_shim.guard.redis_faults import permanent_fault
from tests.guard.conftest import arrived, claims, taken
from tests.servers.process import free_port
from tests.support.redis_server import RedisServer, redis_server

pytestmark = pytest.mark.anyio

FAULTS = {
    "wrong password": (
        ("--requirepass", "secret"),
        "redis://:wrong@127.0.0.1:{}/0",
        "refuses the user or the password",
    ),
    "no password": (("--requirepass", "secret"), "redis://127.0.0.1:{}/0", "refuses the user or the password"),
    "no such user": ((), "redis://nobody:secret@127.0.0.1:{}/0", "refuses the user or the password"),
    "no such database": (("--databases", "1"), "redis://127.0.0.1:{}/5", "no database of that number"),
    "no such database in a path": (("--databases", "1"), "redis://127.0.0.1:{}?db=5", "no database of that number"),
    "may not run scripts": (
        ("--user", "reader", "on", ">secret", "~*", "+@read", "+@connection"),
        "redis://reader:secret@127.0.0.1:{}/0",
        "lacks a permission",
    ),
    "may not write": (
        ("--user", "scripter", "on", ">secret", "~*", "+@read", "+@connection", "+@scripting"),
        "redis://scripter:secret@127.0.0.1:{}/0",
        "lacks a permission",
    ),
    "may not use our keys": (
        ("--user", "other", "on", ">secret", "~other:*", "+@all"),
        "redis://other:secret@127.0.0.1:{}/0",
        "lacks a permission",
    ),
    "out of memory": (("--maxmemory", "1"), "redis://127.0.0.1:{}/0", "out of memory"),
    "a cluster": (("--cluster-enabled", "yes"), "redis://127.0.0.1:{}/0", "Redis Cluster, which is not supported"),
    "a replica": (("--replicaof", "127.0.0.1 1"), "redis://127.0.0.1:{}/0", "is a replica"),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_that_stays_is_named(fault: str, caplog: pytest.LogCaptureFixture) -> None:
    options, url, named = FAULTS[fault]
    with redis_server(*options) as server:
        guard = RedisGuard(url.format(server.port))
        with pytest.raises(GuardMisconfigured, match=named) as checked:
            await guard.check()
        with pytest.raises(GuardMisconfigured, match=named) as claimed:
            await (await arrived(guard)).claim()
        await guard.aclose()
    for error in (checked.value, claimed.value):
        assert "try again" not in error.message and "secret" not in error.message
        assert (error.status, error.code) == (503, "guard_unavailable")
    assert [record.levelname for record in caplog.records] == ["ERROR"], "once"
    assert named in caplog.text and "secret" not in caplog.text


@pytest.mark.parametrize(
    ("says", "named"),
    [
        ("MISCONF Redis is configured to save RDB snapshots", "cannot save to its disk"),
        ("DENIED Redis is running in protected mode", "protected mode"),
        ("LOADING Redis is loading the dataset in memory", None),
        ("ERR unknown", None),
    ],
)
def test_some_faults_are_known_by_their_text_alone(says: str, named: str | None) -> None:
    fault = permanent_fault(ResponseError(says))
    assert fault is None if named is None else fault is not None and named in fault


async def test_a_cluster_that_has_all_slots_is_none_that_is_supported() -> None:
    with redis_server("--cluster-enabled", "yes") as server:
        client = Redis.from_url(server.url)
        await client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)  # type: ignore[no-untyped-call]
        guard = RedisGuard(server.url)
        while (await client.cluster("INFO"))["cluster_state"] != "ok":
            await asyncio.sleep(0.05)
        assert await claims(await arrived(guard)), "until a slot moves"
        with pytest.raises(GuardMisconfigured, match="Redis Cluster, which is not supported"):
            await guard.check()
        await guard.aclose()
        await client.aclose()


async def test_a_store_that_is_away_may_come_back() -> None:
    guard = RedisGuard(f"redis://127.0.0.1:{free_port()}/0", timeout=0.2)
    with pytest.raises(GuardUnavailable, match=r"connecting to 127\.0\.0\.1") as away:
        await guard.check()
    assert away.value.message.endswith("nothing was sent: try again.")
    assert not isinstance(away.value, GuardMisconfigured)
    await guard.aclose()


async def test_who_need_not_have_the_store_is_only_warned() -> None:
    guard = load_guard(f"redis://127.0.0.1:{free_port()}/0", required=False, timeout=0.2)
    (warning,) = await guard.check()
    assert "cannot be reached" in warning and "alone" in warning
    await guard.aclose()


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl"])
async def test_a_store_that_may_evict_is_warned_of(policy: str) -> None:
    with redis_server("--maxmemory", "100mb", "--maxmemory-policy", policy) as server:
        (warning,) = await checked(RedisGuard(server.url))
    assert policy in warning and "maxmemory-policy noeviction" in warning


async def test_the_permissions_of_the_docs_are_enough() -> None:
    docs = (Path(__file__).parents[2] / "docs/how-to/replicas.md").read_text()
    (rights,) = re.findall("`(~ap_resume_shim:.*)`", docs)
    with redis_server(
        "--user", "guard", "on", ">secret", *rights.split(), "--maxmemory-policy", "allkeys-lru"
    ) as server:
        guard = RedisGuard(f"redis://guard:secret@127.0.0.1:{server.port}/0", duplicate_window=5)
        assert len(await guard.check()) == 1
        arrival = await taken(
            await arrived(guard, ResumeKey("t", "body", key="k", repeat="r", window=5)), "r1", hold=True
        )
        await arrival.remember(["id"])
        await arrival.mark_committed()
        await arrival.keep(Reply(200, {}))
        await arrival.mark_idle()
        await arrival.close()
        assert await guard.ledger.note("t", 1)
        assert await guard.ledger.recall("t") == [1]
        kept = await (await arrived(guard, ResumeKey("t", key="k"))).recall()
        assert kept is not None and kept.reply == Reply(200, {})
        assert len(guard.outbox) == 0
        await guard.aclose()


async def test_who_may_not_ask_how_the_store_is_set_up_is_not_warned() -> None:
    with redis_server("--user", "guard", "on", ">secret", "~ap_resume_shim:*", "+@all", "-info") as server:
        assert await checked(RedisGuard(f"redis://guard:secret@127.0.0.1:{server.port}/0")) == ()


async def test_a_check_leaves_nothing_behind(store: RedisServer) -> None:
    client = Redis.from_url(store.url)
    await client.flushdb()
    assert await checked(RedisGuard(store.url)) == ()
    assert [key for key in await client.keys("*") if await client.pttl(key) > 1000] == []
    await client.aclose()


async def checked(guard: Guard) -> tuple[str, ...]:
    try:
        return await guard.check()
    finally:
        await guard.aclose()


@pytest.mark.parametrize("password", ["xq/zw", "/", "xq#zw", "77?88", "77/88", "77#88", "xq@zw/x", "xq:zw/77"])
def test_of_a_password_that_has_to_be_encoded_no_part_is_said(password: str) -> None:
    with pytest.raises(ConfigurationError, match="percent-encoded") as error:
        load_guard(f"redis://:{password}@127.0.0.1:6379/0")
    assert not any(part in str(error.value) for part in ("xq", "zw", "77", "88"))


@pytest.mark.parametrize("rest", ["?nonsense=1", "?db=x", ":x", "?socket_timeout=soon"])
def test_an_address_with_an_option_that_is_none_is_said_at_once(rest: str) -> None:
    with pytest.raises(ConfigurationError, match="not the address"):
        load_guard(f"redis://127.0.0.1{rest}")
