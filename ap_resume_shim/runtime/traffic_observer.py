"""`TrafficObserver`: reads the traffic that passes through, for backends that have no request to list a thread's
waiting run.

The traffic is not changed. Entries from a part of a response are stored before the client receives that part: a client
that resumes at once finds its question in the ledger.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ap_resume_shim.core.asgi import path_below
from ap_resume_shim.core.dialect import Dialect, Observer, ThreadEntry
from ap_resume_shim.core.errors import ResumeError
from ap_resume_shim.core.steps import Entry
from ap_resume_shim.guard.contents import owned, seen_by

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from ap_resume_shim.guard import Ledger

logger = logging.getLogger("ap_resume_shim")


@dataclass(frozen=True, slots=True)
class LedgerView:
    """The ledger's entries of one thread, as one caller sees them."""

    thread: str
    """Digest that identifies the thread in a store."""
    owner: str
    """Digest of the thread's id and the caller's credentials; it is never stored."""

    async def read(self, ledger: Ledger) -> list[Entry]:
        """Return the entries that the caller may see, newest first. Raises `GuardUnavailable`."""
        seen = (seen_by(self.owner, kept) for kept in await ledger.recall(self.thread))
        return [entry for entry in seen if entry is not None]


LARGEST = 4 * 1024 * 1024
"""Maximum size in bytes of a request body that is observed; a larger one passes unobserved."""


def wants_traffic(dialect: Dialect[Any]) -> bool:
    """True if a dialect observes traffic."""
    return type(dialect).watch is not Dialect.watch


class TrafficObserver:
    """Wraps an app, and stores in the ledger what a dialect's observers read in its traffic."""

    def __init__(
        self,
        app: ASGIApp,
        dialect: Dialect[Any],
        ledger: Ledger,
        view: Callable[[Scope, str], LedgerView],
        path: str,
    ) -> None:
        """`view` returns the ledger's view for a request and a thread id. `path`: in front of the backend's routes."""
        self.app, self._dialect, self._ledger, self._view, self._prefix = app, dialect, ledger, view, path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request to the app; observe it if the dialect wants to."""
        observer = self._observer(scope)
        if observer is None:
            await self.app(scope, receive, send)
        else:
            await _Exchange(self, observer, scope, receive, send).run()

    def _observer(self, scope: Scope) -> Observer | None:
        if scope["type"] != "http":
            return None
        path = path_below(scope, self._prefix)
        return None if path is None else self._dialect.watch(scope["method"], path)

    async def store(self, scope: Scope, entries: Iterable[ThreadEntry]) -> None:
        """Store entries from the caller's exchange in the ledger."""
        for thread_id, entry in entries:
            try:
                view = self._view(scope, thread_id)
            except ResumeError:  # not a valid thread id: nobody can resume it
                continue
            await self._ledger.note(view.thread, owned(entry, view.owner))


class _Exchange:
    """One observed request and its response."""

    def __init__(
        self, watched: TrafficObserver, observer: Observer, scope: Scope, receive: Receive, send: Send
    ) -> None:
        self._watched, self._observer, self._scope, self._receive, self._send = watched, observer, scope, receive, send
        self._request: bytearray | None = bytearray()
        self._answered = self._complete = False

    async def run(self) -> None:
        try:
            await self._watched.app(self._scope, self._observed_receive, self._observed_send)
        finally:
            if self._answered and not self._complete:
                await self._watched.store(self._scope, self._collect(lambda: self._observer.end(complete=False)))

    async def _observed_receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request" and self._request is not None:
            self._request += message.get("body", b"")
            if len(self._request) > LARGEST:
                self._request = None
        return message

    async def _observed_send(self, message: Message) -> None:
        await self._watched.store(self._scope, self._collect(lambda: self._observe(message)))
        await self._send(message)

    def _observe(self, message: Message) -> Iterable[ThreadEntry]:
        if message["type"] == "http.response.start" and self._request is not None:
            self._answered = True
            self._observer.request(bytes(self._request))
            headers = tuple((k.decode("latin-1"), v.decode("latin-1")) for k, v in message.get("headers", ()))
            yield from self._observer.head(message["status"], headers)
        elif message["type"] == "http.response.body" and self._answered and not self._complete:
            yield from self._observer.feed(bytes(message.get("body", b"")))
            if not message.get("more_body", False):
                self._complete = True
                yield from self._observer.end(complete=True)

    @staticmethod
    def _collect(observe: Callable[[], Iterable[ThreadEntry]]) -> list[ThreadEntry]:
        """Return the entries that `observe` yields. An exception is logged: the traffic must pass in any case."""
        try:
            return list(observe())
        except Exception:
            logger.exception("the traffic observer failed; the traffic passes unchanged")
            return []
