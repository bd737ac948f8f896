"""`TrafficObserver`: observes the traffic that passes, for backends that cannot be asked which run of a thread waits.

What passes stays as it is. What is noted of a part of an answer is kept before the client gets that part, so that a
client that resumes at once finds its question in the ledger.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ap_resume_shim.core.asgi import route_path
from ap_resume_shim.core.dialect import Dialect, Note, Observer
from ap_resume_shim.core.errors import ResumeError
from ap_resume_shim.core.steps import Entry
from ap_resume_shim.guard.contents import owned, seen_by

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from ap_resume_shim.guard import Ledger

logger = logging.getLogger("ap_resume_shim")


@dataclass(frozen=True, slots=True)
class Page:
    """Where the ledger has a thread, as one caller sees it."""

    thread: str
    """A digest, by which a store knows the thread."""
    owner: str
    """A digest of the thread's id and the caller's credentials, which no store knows."""

    async def read(self, ledger: Ledger) -> list[Entry]:
        """What the caller may see, the newest first. Raises `GuardUnavailable`."""
        seen = (seen_by(self.owner, kept) for kept in await ledger.recall(self.thread))
        return [entry for entry in seen if entry is not None]


LARGEST = 4 * 1024 * 1024
"""Bytes of a request that are kept to be looked into; one that is larger is passed on unseen."""


def wants_traffic(dialect: Dialect[Any]) -> bool:
    """Whether a dialect wants to see what passes."""
    return type(dialect).watch is not Dialect.watch


class TrafficObserver:
    """The wrapped app, looked on at."""

    def __init__(
        self, app: ASGIApp, dialect: Dialect[Any], ledger: Ledger, page: Callable[[Scope, str], Page], path: str
    ) -> None:
        """`page`: where the ledger has a thread, and the caller of a request. `path`: before the backend's routes."""
        self.app, self._dialect, self._ledger, self._page, self._prefix = app, dialect, ledger, page, path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, and look on at what the dialect wants to see."""
        observer = self._observer(scope)
        if observer is None:
            await self.app(scope, receive, send)
        else:
            await _Exchange(self, observer, scope, receive, send).run()

    def _observer(self, scope: Scope) -> Observer | None:
        if scope["type"] != "http":
            return None
        return self._dialect.watch(scope["method"], route_path(scope).removeprefix(self._prefix))

    async def note(self, scope: Scope, notes: Iterable[Note]) -> None:
        """Keep what an observer has seen of the caller's exchange."""
        for thread_id, entry in notes:
            try:
                page = self._page(scope, thread_id)
            except ResumeError:  # no id that could be resumed
                continue
            await self._ledger.note(page.thread, owned(entry, page.owner))


class _Exchange:
    """One request and its answer."""

    def __init__(
        self, watched: TrafficObserver, observer: Observer, scope: Scope, receive: Receive, send: Send
    ) -> None:
        self._watched, self._observer, self._scope, self._receive, self._send = watched, observer, scope, receive, send
        self._request: bytearray | None = bytearray()
        self._answered = self._complete = False

    async def run(self) -> None:
        try:
            await self._watched.app(self._scope, self._listen, self._tell)
        finally:
            if self._answered and not self._complete:
                await self._watched.note(self._scope, self._look(lambda: self._observer.end(complete=False)))

    async def _listen(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request" and self._request is not None:
            self._request += message.get("body", b"")
            if len(self._request) > LARGEST:
                self._request = None
        return message

    async def _tell(self, message: Message) -> None:
        await self._watched.note(self._scope, self._look(lambda: self._see(message)))
        await self._send(message)

    def _see(self, message: Message) -> Iterable[Note]:
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
    def _look(at: Callable[[], Iterable[Note]]) -> list[Note]:
        """What is seen; a fault of ours is no reason to disturb what passes."""
        try:
            return list(at())
        except Exception:
            logger.exception("what passed could not be understood")
            return []
