"""Lists of threads that may wait for an answer, as a backend's own search finds them.

A search is a hint: its rows can be older than the state of their threads. A `Candidate` is therefore read again, and
its state decides, as it does for a resume.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ap_resume_shim.core import strictjson
from ap_resume_shim.core.errors import InvalidRequest
from ap_resume_shim.core.steps import Steps

MOST_REQUESTS = 21
"""Maximum number of requests of one page: those of the search, and those that read its candidates."""
MOST_THREADS = 20
"""Maximum number of threads of one page."""


@dataclass(frozen=True, slots=True)
class Page:
    """A request for one page of a list."""

    limit: int = MOST_THREADS
    """Maximum number of candidates."""
    at: Any = None
    """The place where the page begins: `Listing.next` of the page before, which a client may have changed; None for
    the first page."""
    agent_id: str | None = None
    """List only threads of this agent. Backends whose search has no filter for agents ignore it."""

    def place(self, *kinds: type) -> list[Any] | None:
        """Return `at` if it is a list of values of these types; None for the first page. Raises `InvalidRequest`."""
        if self.at is None:
            return None
        if not isinstance(self.at, list) or [type(item) for item in self.at] != list(kinds):
            raise bad_cursor()
        if any(isinstance(item, int) and not 0 <= item < 2**31 for item in self.at):
            raise bad_cursor()
        return self.at


@dataclass(frozen=True, slots=True)
class Candidate:
    """A thread that may have a question, according to the search."""

    thread_id: str
    row: Any = None
    """Data of the dialect for `Dialect.read_candidate`, such as the row of the search."""


@dataclass(frozen=True, slots=True)
class Listing:
    """One page of candidates."""

    candidates: tuple[Candidate, ...] = ()
    next: Any = None
    """The place where the next page begins, as a JSON value; None after the last page."""
    listed: bool = True
    """False if the backend cannot list waiting threads; `notes` has the reason."""
    notes: tuple[str, ...] = ()
    """Sentences for a person: what the list lacks, and whose threads it has."""


@dataclass(frozen=True, slots=True)
class Batch:
    """The result of one search."""

    candidates: Sequence[Candidate]
    next: int | None
    """The offset at which the search continues; None at its end."""


class Source(Protocol):
    """One of the searches that make up a list, such as the one for one status, or for the runs of one agent."""

    @property
    def name(self) -> str:
        """A name that stays the same from page to page."""

    @property
    def per_search(self) -> int:
        """The number of requests of one search."""

    @property
    def per_candidate(self) -> int:
        """The number of requests that read one candidate."""

    def search(self, offset: int, room: int) -> Steps[Batch]:
        """Search for at most `room` candidates."""


def collect(page: Page, sources: Sequence[Source], *, spent: int = 0, notes: tuple[str, ...] = ()) -> Steps[Listing]:
    """Search one source after the other, until the page is full, or the limit of requests is reached.

    `spent` requests were already sent. Raises `InvalidRequest` for a page that begins in an unknown source.
    """
    names = [source.name for source in sources]
    name, offset = page.place(str, int) or (names[0] if names else "", 0)
    if names and name not in names:
        raise bad_cursor()
    candidates: list[Candidate] = []
    left = MOST_REQUESTS - spent
    for source in sources[names.index(name) :] if names else ():
        at: int | None = offset if source.name == name else 0
        while at is not None:
            room = min(page.limit - len(candidates), (left - source.per_search) // source.per_candidate)
            if room < 1:
                return Listing(tuple(candidates), [source.name, at], notes=notes)
            batch = yield from source.search(at, room)
            candidates += batch.candidates
            left -= source.per_search + source.per_candidate * len(batch.candidates)
            at = batch.next
    return Listing(tuple(candidates), notes=notes)


def encode_cursor(place: Any) -> str | None:
    """Return `Listing.next` as an opaque text; None after the last page."""
    return None if place is None else urlsafe_b64encode(strictjson.dumps(place)).rstrip(b"=").decode()


def decode_cursor(text: str) -> Any:
    """Return the place that `encode_cursor` encoded. Raises `InvalidRequest`."""
    try:
        return strictjson.loads(urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except ValueError:
        raise bad_cursor() from None


def bad_cursor() -> InvalidRequest:
    """Return the error for a cursor that no page of this list has."""
    return InvalidRequest("`cursor` is not the `next` of a page of this list: leave it out.", {"field": "cursor"})
