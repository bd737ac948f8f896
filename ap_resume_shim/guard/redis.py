"""The guard that processes share, in Redis or Valkey (needs the extra `redis`).

A hold is a lease. The process renews it while it lives. If the process dies, the thread is free when the lease ends,
and the resume counts as accepted at that moment, since its outcome is unknown. The store's clock measures leases; the
process's own clock decides whether a resume may still be sent. The two clocks need not agree.
"""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any
from urllib.parse import urlsplit

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import ConstantBackoff
from redis.commands.core import AsyncScript
from redis.exceptions import RedisError

from ap_resume_shim._shutdown import close_with_the_loop
from ap_resume_shim.core.errors import ConfigurationError, GuardMisconfigured, GuardUnavailable
from ap_resume_shim.guard.base import GuardSession, ResumeKey
from ap_resume_shim.guard.clock import boottime
from ap_resume_shim.guard.ledger import Ledger
from ap_resume_shim.guard.memory import DAY
from ap_resume_shim.guard.outbox import Outbox
from ap_resume_shim.guard.redis_faults import CLUSTER, unavailable
from ap_resume_shim.guard.redis_ledger import RedisLedger
from ap_resume_shim.guard.redis_scripts import PRELUDE, SCRIPTS
from ap_resume_shim.guard.redis_session import RedisSession

FORMAT = "ap_resume_shim:3"
"""Prefix of the guard's keys; the number changes with the format of their values."""

CONNECTIONS = 32
"""Maximum number of connections of a process; further calls wait for a free one, for at most the `timeout`."""

logger = logging.getLogger("ap_resume_shim")


class RedisGuard:
    """One resume of a thread at a time, over all processes that share a Redis or Valkey server.

    One primary, no cluster. A failover that loses writes loses holds, acceptances and keys with them.
    """

    def __init__(
        self,
        url: str,
        *,
        lease: float = 30.0,
        keep: float = DAY,
        keep_bytes: int = 1024 * 1024,
        duplicate_window: float = 0.0,
        timeout: float = 1.0,
        clock: Callable[[], float] = boottime,
    ) -> None:
        """Connects on first use.

        - `lease`: seconds after which the thread of a process that died is free.
        - `keep`: seconds for which a response is stored under its `Idempotency-Key`.
        - `keep_bytes`: maximum size of a stored response; for a larger one, only the run's id is stored.
        - `duplicate_window`: seconds in which the same body from the same caller on the same thread is refused.
        - `timeout`: seconds for each round trip to the store, and to wait for a free connection.

        Raises `ConfigurationError`.
        """
        if lease < 3 * timeout:
            raise ConfigurationError(
                f"A lease of {lease:g} s cannot be renewed in time: give it at least {3 * timeout:g} s."
            )
        self.lease, self.keep, self.keep_bytes, self.duplicate_window = lease, keep, keep_bytes, duplicate_window
        self.timeout, self.clock = timeout, clock
        self.on_error: Callable[[], None] = _ignore
        """Called for each call to the store that fails."""
        self.ledger: Ledger = RedisLedger(self.run)
        self.outbox = Outbox(timeout)
        self._url = re.sub("^valkey", "redis", url)
        self._client: Redis | None = None
        self._unavailable = False
        self._scripts: dict[str, AsyncScript] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closing: AsyncIterator[None] | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self.renewing: set[asyncio.Task[Any]] = set()
        _refuse_wrong_address(self._url)

    def now(self) -> float:
        """Return this moment by the process's own clock."""
        return self.clock()

    def begin(self, resume_key: ResumeKey, arrived: float | None = None) -> GuardSession:
        """Send a query for the thread's state to the store. Does not wait for the response."""
        return RedisSession(self, resume_key, self.clock() if arrived is None else arrived)

    async def check(self) -> tuple[str, ...]:
        """Claim and release an unused thread, and read the store's configuration.

        Returns warnings. Raises `GuardUnavailable`, or `GuardMisconfigured` for a permanent fault.
        """
        token, second = secrets.token_hex(8), 1_000_000
        keys = [f"{FORMAT}:{{check {token}}}:{name}" for name in ("hold", "key", "repeat", "ids", "unnamed")]
        claim = token, "", 2**53, second, "[]", '["id"]', "", 1000, 1000, 1000
        await self.run("claim", keys, *claim)
        await self.run("mark_rejected", keys, token)
        try:
            client = await self._connect()
            memory, cluster = await client.info("memory"), await client.info("cluster")
        except (RedisError, OSError):  # the user may lack permission for INFO
            return ()
        if cluster.get("cluster_enabled"):
            raise GuardMisconfigured(f"The guard's store cannot be used: {CLUSTER}.")
        policy = memory.get("maxmemory_policy", "noeviction")
        if policy == "noeviction":
            return ()
        return (
            f"the guard's store may evict holds and keys (maxmemory-policy {policy}), and then a thread may be resumed "
            "twice: set maxmemory-policy noeviction",
        )

    async def aclose(self) -> None:
        """Wait for calls in progress, stop renewing leases, and close the connections."""
        for renewing in list(self.renewing):
            renewing.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=self.timeout)
        await self.outbox.aclose(self.timeout)
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def call(self, script: str, resume_key: ResumeKey, *arguments: Any) -> Any:
        """Run a script on the keys of a resume. Logs the first failure and the recovery. Raises `GuardUnavailable`."""
        # The braces are a hash tag: in a cluster, all keys of a thread must be in one slot.
        repeat = resume_key.repeat or "="
        names = "hold", resume_key.key or "-", repeat, "ids", resume_key.unnamed or repeat
        keys = [f"{FORMAT}:{{{resume_key.thread}}}:{name}" for name in names]
        try:
            result = await self.run(script, keys, *arguments)
        except GuardUnavailable as failure:
            if not self._unavailable:
                level = logging.ERROR if isinstance(failure, GuardMisconfigured) else logging.WARNING
                cause = failure.__cause__
                logger.log(level, "%s (%s: %s)", failure.message, type(cause).__name__, cause)
            self._unavailable = True
            raise
        if self._unavailable:
            logger.warning("the guard's store is available again")
        self._unavailable = False
        return result

    async def run(self, script: str, keys: list[str], *arguments: Any) -> Any:
        """Run a script without logging. Raises `GuardUnavailable`, with the reason as its cause."""
        try:
            await self._connect()
            return await self._scripts[script](keys, arguments)
        except (RedisError, OSError) as error:
            self.on_error()
            raise unavailable(error) from error

    def in_background(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Start a task and keep a reference to it.

        Its exception is available to callers that await it, and is not logged.
        """
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()

    async def _connect(self) -> Redis:
        """Return a client for the running event loop, with the scripts registered."""
        loop = asyncio.get_running_loop()
        if self._client is None or self._loop is not loop:
            self._loop, self._closing = loop, close_with_the_loop(self.aclose)
            pool = BlockingConnectionPool.from_url(
                self._url,
                max_connections=CONNECTIONS,
                timeout=self.timeout,
                socket_timeout=self.timeout,
                socket_connect_timeout=self.timeout,
                # One retry: an idle connection may have been closed, and every script may run twice.
                retry=Retry(ConstantBackoff(0.01), 1),
            )
            self._client = Redis.from_pool(pool)
            self._scripts = {name: self._client.register_script(PRELUDE + text) for name, text in SCRIPTS.items()}
            await anext(self._closing)
        return self._client


def _ignore() -> None:
    """The `on_error` of a guard that is not observed."""


def _refuse_wrong_address(url: str) -> None:
    """Check the URL. Raises `ConfigurationError`, which quotes no part of it: any part may belong to the password."""
    try:
        parts = urlsplit(url)
        misread = not url.startswith("unix") and "@" in f"{parts.path}{parts.query}{parts.fragment}"
        Redis.from_url(url).connection_pool.make_connection()  # type: ignore[no-untyped-call]
    except (ValueError, TypeError):  # TypeError: an unknown option
        misread = True
    if misread:
        raise ConfigurationError(
            "This is not the address of a Redis server: write redis://user:password@host:6379/0, with the special "
            "characters of the password percent-encoded (/ is %2F, # is %23, ? is %3F, @ is %40)."
        )
