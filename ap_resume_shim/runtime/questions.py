"""`Questions`: an ASGI app that lists the questions that wait for an answer, and shows those of one thread.

It reads with the caller's own credentials, so it shows what the backend shows to the caller. It changes nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import parse_qs

from ap_resume_shim.core import strictjson
from ap_resume_shim.core.asgi import escape, mounted_at
from ap_resume_shim.core.dialect import Dialect, Found
from ap_resume_shim.core.errors import (
    InvalidRequest,
    NotFound,
    ResumeError,
    ThreadNotInterrupted,
    UpstreamError,
    UpstreamRefused,
    UpstreamUnreachable,
)
from ap_resume_shim.core.listing import MOST_THREADS, Candidate, Page, decode_cursor, encode_cursor
from ap_resume_shim.core.protocol import Mode, Resume, parse
from ap_resume_shim.core.question_list import notes_on, questions_of
from ap_resume_shim.core.shape_errors import recognising
from ap_resume_shim.core.steps import Reply, Step
from ap_resume_shim.runtime import clock
from ap_resume_shim.runtime.client import Client
from ap_resume_shim.runtime.cors import Cors
from ap_resume_shim.runtime.log_lines import printable, truncate
from ap_resume_shim.runtime.lookups import Reading
from ap_resume_shim.runtime.offload import offload
from ap_resume_shim.runtime.stepping import drive

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.types import Message, Receive, Scope, Send

logger = logging.getLogger("ap_resume_shim")

MOST_BYTES = 4 * 1024 * 1024
"""Maximum size of the questions in one list, as JSON."""
LARGEST_STATE = 16 * 1024 * 1024
"""Maximum size of each response that a list reads."""
_METHODS = ("GET", "HEAD")
_NATIVE = "The server has the resume routes itself, so the shim does not read its threads."

Json = dict[str, Any]


class Backend(Protocol):
    """Access to the threads of a backend; `ResumeShim` has it."""

    async def reading(self, scope: Scope, own: str = "", largest: int | None = None) -> Reading | None:
        """Return the means to read threads for the caller of a request; None if the backend serves the routes itself.

        `own` is the thread whose ledger the lookups read; `largest` is the maximum size of a response in bytes.
        """


class Questions:
    """Serves the list at `GET {prefix}`, and the questions of one thread at `GET {prefix}/{thread_id}`.

    Mount it beside the shim, at any path:

        Starlette(routes=[Mount("/questions", Questions(shim)), Mount("/", shim)])
    """

    def __init__(
        self, shim: Backend, *, prefix: str = "", cors: Sequence[str] = (), root_path: str | None = None
    ) -> None:
        """`prefix`: the path of the list below the mount point. `cors`: origins whose pages may read it, or `*`.

        `root_path`: the path in front of the shim, such as `/api`, if an app that is mounted there has both.

        Raises `ConfigurationError` for an invalid origin.
        """
        self._shim, self._prefix, self._root_path = shim, prefix, root_path
        self._entry = Cors(self._serve, cors, method="GET") if cors else self._serve

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] == "http":
            await self._entry(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        root: str = scope.get("root_path", "")
        below = scope["path"][len(mounted_at(root, scope["path"])) :].removeprefix(self._prefix)
        client = Client(scope, receive, _completing(send, scope["method"]), base="")
        if scope["method"] not in _METHODS:
            refused = {"code": "invalid_request", "message": "Use GET: this address only reads.", "metadata": {}}
            await client.send_reply(Reply(405, refused, (("allow", "GET, HEAD"),)))
            return
        reader = _Reader(self._shim, scope, self._root_path)
        try:
            thread_id = below.strip("/")
            value = await (reader.thread(thread_id) if thread_id else reader.list())
            await client.send_reply(await offload(partial(Reply, 200, value)))
        except ResumeError as error:
            await client.send_error(error)


class _Reader:
    """Reads for one request."""

    def __init__(self, shim: Backend, scope: Scope, root_path: str | None) -> None:
        self._shim = shim
        self._query = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        outermost = scope.get("app_root_path", scope.get("root_path", ""))
        self._root: str = outermost if root_path is None else root_path
        self._scope = {**scope, "method": "GET", "root_path": self._root, "path": f"{self._root}/", "query_string": b""}
        self._scope.pop("raw_path", None)

    async def thread(self, thread_id: str) -> Json:
        """Return the questions of a thread."""
        resume = _resume(thread_id, self._one("agent_id"))
        reading = await self._shim.reading(self._scope, thread_id)
        if reading is None:
            return {"thread_id": thread_id, "status": None, "questions": [], "notes": [_NATIVE]}
        dialect = recognising(reading.dialect)
        dialect.thread_key(thread_id)
        try:
            found = await drive(dialect.inspect_thread(resume), reading.lookups.do)
        except ThreadNotInterrupted as error:  # it waits for something other than an answer
            status = error.metadata.get("thread_status", "idle")
            return {"thread_id": thread_id, "status": status, "questions": [], "notes": [error.message]}
        return {
            "thread_id": thread_id,
            "status": found.status,
            "questions": await offload(partial(questions_of, thread_id, found, dialect, base=self._base(reading))),
            "notes": list(notes_on(found)),
        }

    async def list(self) -> Json:
        """Return one page of the list."""
        page = self._page()
        reading = await self._shim.reading(self._scope, largest=LARGEST_STATE)
        if reading is None:
            return {"listed": False, "questions": [], "next": None, "notes": [_NATIVE]}
        dialect, do = recognising(reading.dialect), reading.lookups.do
        listing = await drive(dialect.list_waiting(page), do)
        reads = await asyncio.gather(*(_read(dialect, do, candidate) for candidate in listing.candidates))
        shown = _Shown(dialect, self._base(reading))
        await offload(partial(shown.add_all, zip(listing.candidates, reads, strict=True)))
        return {
            "listed": listing.listed,
            "questions": shown.questions,
            "next": encode_cursor(listing.next),
            "notes": [*listing.notes, *shown.notes()],
        }

    def _base(self, reading: Reading) -> str:
        """Return the path in front of the resume routes, as clients see it."""
        return escape(self._root) + reading.prefix

    def _page(self) -> Page:
        cursor, limit = self._one("cursor"), self._one("limit") or str(MOST_THREADS)
        if not (limit.isdecimal() and limit.isascii() and 1 <= int(limit[:9]) <= MOST_THREADS):
            raise InvalidRequest(f"`limit` is a number of threads, from 1 to {MOST_THREADS}.", {"field": "limit"})
        return Page(int(limit), None if cursor is None else decode_cursor(cursor), self._one("agent"))

    def _one(self, name: str) -> str | None:
        """Return a parameter of the query. Raises `InvalidRequest` if it is repeated."""
        values = self._query.get(name, [""])
        if len(values) > 1:
            raise InvalidRequest(f"`{name}` is in the query {len(values)} times: send it once.", {"field": name})
        return values[0] or None


def _resume(thread_id: str, agent_id: str | None = None) -> Resume:
    """Return a resume without an answer, with which a dialect reads the thread. Raises `InvalidRequest`."""
    body = {"thread_id": thread_id, "agent_id": agent_id}
    return parse(strictjson.dumps(body), Mode.WAIT, now=clock.now())


Read = Found[Any] | ResumeError


async def _read(dialect: Dialect[Any], do: Callable[[Step], Awaitable[Any]], candidate: Candidate) -> Read:
    """Read a thread of the list. A failure is returned, since the other threads are shown nevertheless."""
    try:
        return await drive(dialect.read_candidate(_resume(candidate.thread_id), candidate), do)
    except ResumeError as error:
        return error
    except Exception:  # an app in the same process may raise any exception
        logger.exception("a thread of a list could not be read")
        return UpstreamError("The backend failed. Look into its log.")


class _Shown:
    """The questions of one page, up to the size limit."""

    def __init__(self, dialect: Dialect[Any], base: str) -> None:
        self.questions: list[Json] = []
        self._dialect, self._base, self._bytes = dialect, base, 0
        self._unread: dict[str, ResumeError] = {}
        self._too_large: dict[str, None] = {}
        self._any_read = False

    def add_all(self, reads: Iterable[tuple[Candidate, Read]]) -> None:
        """Add the questions of all threads."""
        for candidate, read in reads:
            self._add(candidate, read)

    def _add(self, candidate: Candidate, read: Read) -> None:
        """Add the questions of a thread. A thread that has ended or vanished meanwhile has none."""
        if isinstance(read, ResumeError):
            if not isinstance(read, NotFound | ThreadNotInterrupted):
                self._unread[candidate.thread_id] = read
            return
        self._any_read = True
        for question in questions_of(candidate.thread_id, read, self._dialect, base=self._base):
            size = len(strictjson.dumps(question))
            if self._bytes + size > MOST_BYTES:
                self._too_large[candidate.thread_id] = None
            else:
                self._bytes += size
                self.questions.append(question)

    def notes(self) -> Iterator[str]:
        """Yield sentences about what is missing.

        Raises the failure if no thread could be read because the backend is unreachable or refuses the caller. Any
        other failure may concern one thread permanently, and must not hide the next pages.
        """
        for thread_id, error in self._unread.items():
            if not self._any_read and isinstance(error, UpstreamUnreachable | UpstreamRefused):
                raise error
            logger.warning(
                "thread %s is missing in a list: %s", printable(truncate(thread_id)), printable(error.reason)
            )
        if self._unread:
            reason = next(iter(self._unread.values())).message
            yield f"These threads could not be read: {', '.join(self._unread)}. {reason}"
        if self._too_large:
            yield f"The questions of these threads are too large for a list: {', '.join(self._too_large)}."


def _completing(send: Send, method: str) -> Send:
    """Return a `send` that forbids caches to store the response, and leaves out the body of a response to HEAD."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], (b"cache-control", b"no-store")]}
        elif method == "HEAD":
            message = {**message, "body": b""}
        await send(message)

    return sending
