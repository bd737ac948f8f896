"""The guard that processes share, in Redis or Valkey (needs the extra `redis`).

A hold is a lease. While its process lives it is renewed; when the process dies the thread is free within the lease,
and the resume counts as accepted at that moment, since nobody knows. All times are those of the store's clock; of a
process's own clock only durations are used, so that clocks need not agree.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import secrets
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import ConstantBackoff
from redis.commands.core import AsyncScript
from redis.exceptions import RedisError

from ap_resume_shim.closing import close_with_the_loop
from ap_resume_shim.core import strictjson
from ap_resume_shim.core.errors import ConfigurationError, GuardUnavailable, HoldLapsed, ResumeInProgress
from ap_resume_shim.core.exchange import Kept, Reply
from ap_resume_shim.guard.arrival import Arrival, Ticket
from ap_resume_shim.guard.ledger import Ledger
from ap_resume_shim.guard.memory import CAME_FIRST, DAY
from ap_resume_shim.guard.redis_ledger import RedisLedger
from ap_resume_shim.guard.scripts import PRELUDE, SCRIPTS

LAPSED = (
    "This resume was held up for longer than its hold on the thread lasts, and was not sent. "
    "Read the thread before you answer again."
)

logger = logging.getLogger("ap_resume_shim")


class RedisGuard:
    """One resume of a thread at a time over all processes that share a Redis or Valkey server.

    One primary, no cluster needed; a failover that loses writes loses holds with them.
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
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Connects when it is first used.

        - `lease`: seconds after which the thread of a process that died is free.
        - `keep`: seconds that an answer is kept under its `Idempotency-Key`.
        - `keep_bytes`: the largest answer that is kept; of a larger one only the run's id is.
        - `duplicate_window`: seconds in which the same body from the same caller on the same thread is refused.
        - `timeout`: seconds for each round trip to the store.

        Raises `ConfigurationError`.
        """
        if lease < 3 * timeout:
            raise ConfigurationError(
                f"A lease of {lease:g} s cannot be renewed in time: give it at least {3 * timeout:g} s."
            )
        self.lease, self.keep, self.keep_bytes, self.duplicate_window = lease, keep, keep_bytes, duplicate_window
        self.clock = clock
        self.ledger: Ledger = RedisLedger(self.run)
        self._url, self._timeout = re.sub("^valkey", "redis", url), timeout
        self._client: Redis | None = None
        self._scripts: dict[str, AsyncScript] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closing: AsyncIterator[None] | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self.renewing: set[asyncio.Task[Any]] = set()
        try:
            Redis.from_url(self._url)
        except ValueError as error:
            raise ConfigurationError(f"This is not the address of a Redis server: {error}.") from None  # no password

    def arrive(self, ticket: Ticket) -> Arrival:
        """Ask the store how the thread stands now, without waiting for its answer."""
        return _RedisArrival(self, ticket)

    async def aclose(self) -> None:
        """Let what is on its way end, renew nothing any longer, and close the connections."""
        for renewing in list(self.renewing):
            renewing.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=self._timeout)
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def call(self, script: str, ticket: Ticket, *arguments: Any) -> Any:
        """Run a script on the keys of a ticket. Raises `GuardUnavailable`."""
        # In braces: in a cluster, the keys of a thread have to live in one place.
        keys = [
            f"ap_resume_shim:{{{ticket.thread}}}:{name}" for name in ("hold", ticket.key or "-", ticket.repeat or "=")
        ]
        try:
            return await self.run(script, keys, *arguments)
        except GuardUnavailable as failure:
            logger.warning("the guard's store cannot be reached: %r", failure.__cause__)
            raise

    async def run(self, script: str, keys: list[str], *arguments: Any) -> Any:
        """Run a script; nothing is logged. Raises `GuardUnavailable`, and says in its cause why."""
        try:
            return await (await self._script(script))(keys, arguments)
        except (RedisError, OSError) as error:
            raise GuardUnavailable(
                "The store that keeps resumes apart cannot be reached, so that nothing was sent: try again."
            ) from error

    def in_background(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """A task that the guard holds on to; what it raises is for whoever asks for its result."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()

    async def _script(self, name: str) -> AsyncScript:
        """A script on a connection of the loop that runs now."""
        loop = asyncio.get_running_loop()
        if self._client is None or self._loop is not loop:
            self._loop, self._closing = loop, close_with_the_loop(self.aclose)
            self._client = Redis.from_url(
                self._url,
                socket_timeout=self._timeout,
                socket_connect_timeout=self._timeout,
                # Once: every script may be run twice, and a kept connection may have been closed meanwhile.
                retry=Retry(ConstantBackoff(0.01), 1),
            )
            self._scripts = {name: self._client.register_script(PRELUDE + text) for name, text in SCRIPTS.items()}
            await anext(self._closing)
        return self._scripts[name]


class _RedisArrival:
    def __init__(self, guard: RedisGuard, ticket: Ticket) -> None:
        self._guard, self._ticket = guard, ticket
        self._token = secrets.token_hex(8)
        self._here = guard.clock()
        # What the store told of the moment of the arrival.
        self._version = self._arrived = 0
        self._unsettled = self._repeated = self._to_settle = False
        self._kept: Kept | None = None
        self._reading = guard.in_background(self._read())
        # What became of this resume since.
        self._safe_until = 0.0
        self._renewing: asyncio.Task[Any] | None = None
        self._held = self._forwarded = self._accepted = self._answered = self._left = False
        self._run_id = ""
        self._owed = False  # the store does not know of the acceptance yet

    async def recall(self) -> Kept | None:
        await self._have_read()
        return self._kept

    async def repeated(self) -> bool:
        await self._have_read()
        return self._repeated

    async def unsettled(self) -> bool:
        await self._have_read()
        return self._unsettled

    async def overtaken(self) -> bool:
        await self._have_read()
        if self._forwarded or self._accepted:
            told = await self._tell("overtaken")
            if told is None:
                return True
        else:
            told = await self._call("overtaken")
        version, held = told
        return bool(held) or int(version) != self._version or int(version) > self._arrived

    async def claim(self) -> None:
        await self._have_read()
        before = self._guard.clock()
        self._held = True  # perhaps, from here on: what fails now may have reached the store
        held = await self._call(
            "claim",
            self._version,
            self._arrived,
            _micro(self._guard.lease),
            _milli(DAY),
            self._ticket.fingerprint,
            0 if self._ticket.key is None else _milli(self._guard.keep),
            0 if self._ticket.repeat is None else _milli(self._guard.duplicate_window),
        )
        if not held:
            self._held = False
            raise ResumeInProgress(CAME_FIRST)
        self._safe_until = before + self._guard.lease
        self._renewing = self._guard.in_background(self._renew_for_ever())
        self._guard.renewing.add(self._renewing)

    async def forward(self) -> None:
        if self._safe_until - self._guard.clock() < self._guard.lease / 2:
            try:
                await self._renew()
            except GuardUnavailable:
                pass  # what is left of the lease may do
        if self._guard.clock() >= self._safe_until:
            raise HoldLapsed(LAPSED)
        self._forwarded = True

    def still_held(self) -> bool:
        return self._forwarded and self._guard.clock() < self._safe_until

    async def accepted(self, run_id: str | None = None) -> None:
        self._held, self._forwarded, self._accepted = False, False, True
        self._run_id = run_id or ""
        await self._tell_accepted()

    async def _tell_accepted(self) -> None:
        version = await self._tell("accepted", _milli(DAY), self._run_id)
        self._owed = version is None
        if version is not None:
            self._version = self._arrived = int(version)
            self._to_settle = True
        if self._ticket.key is None and not self._owed:
            self._stop_renewing()

    async def known(self, run_id: str) -> None:
        self._run_id = run_id
        if self._ticket.key is not None:
            await self._tell("known", run_id)

    async def untaken(self) -> None:
        self._held = self._forwarded = False
        self._stop_renewing()
        await self._tell("untaken")

    async def keep(self, reply: Reply) -> None:
        if self._ticket.key is not None:
            self._answered = True
            written = _write(reply)
            await self._tell("keep", written if len(written) <= self._guard.keep_bytes else b"")

    async def settled(self) -> None:
        """Nobody waits for this one: it is told while the answer is on its way."""
        if self._to_settle:
            self._to_settle = False
            self._guard.in_background(self._tell("settled", self._version))

    async def leave(self) -> None:
        if self._left:
            return
        self._left = True
        if self._forwarded:
            await self.accepted()
        elif self._held:
            await self.untaken()
        self._stop_renewing()
        if self._owed:
            await self._tell_accepted()
        if self._accepted and self._ticket.key is not None and not self._answered:
            await self._tell("keep", b"")

    async def _read(self) -> None:
        told = await self._call("arrive")
        now, version, unsettled, repeated, fingerprint, live, accepted, run_id, reply, rested = told
        # The store was asked after the arrival, by as long as the answer took at most: an acceptance in that time
        # counts as one after the arrival.
        self._arrived = int(now) - _micro(self._guard.clock() - self._here)
        self._version, self._unsettled, self._repeated = int(version), bool(unsettled), bool(repeated)
        self._to_settle = self._unsettled and self._version <= self._arrived  # else it saw the rest before that run
        self._unsettled = self._unsettled or int(rested) > self._arrived
        if fingerprint:
            self._kept = Kept(
                fingerprint.decode(), bool(live), accepted == b"1", run_id.decode() or None, _read_reply(reply)
            )

    async def _have_read(self) -> None:
        await asyncio.wait({self._reading})
        self._reading.result()

    async def _renew_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._guard.lease / 3)
            if self._owed:
                await self._tell_accepted()
                continue
            try:
                await self._renew()
            except GuardUnavailable:
                pass  # said in the log; tried again until the lease is over

    async def _renew(self) -> None:
        before = self._guard.clock()
        if await self._call("renew", _micro(self._guard.lease)):
            self._safe_until = before + self._guard.lease
        elif not self._accepted:
            self._safe_until = 0.0

    def _stop_renewing(self) -> None:
        if self._renewing is not None:
            self._renewing.cancel()
            self._guard.renewing.discard(self._renewing)

    async def _tell(self, script: str, *arguments: Any) -> Any:
        """Tell the store what happened. When it cannot be reached the hold lapses, and no answer is lost for it."""
        try:
            return await self._call(script, *arguments)
        except GuardUnavailable:
            return None

    async def _call(self, script: str, *arguments: Any) -> Any:
        return await self._guard.call(script, self._ticket, self._token, *arguments)


def _micro(seconds: float) -> int:
    return int(seconds * 1_000_000)


def _milli(seconds: float) -> int:
    return int(seconds * 1000)


def _write(reply: Reply) -> bytes:
    return strictjson.dumps({"status": reply.status, "headers": reply.headers, "value": reply.value})


def _read_reply(written: bytes) -> Reply | None:
    if not written:
        return None
    value = json.loads(written)
    return Reply(value["status"], value["value"], tuple((name, field) for name, field in value["headers"]))
