"""The names of threads and callers: digests, by which the guard and the ledger know them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ap_resume_shim.core.dialect import Dialect
from ap_resume_shim.core.idempotency import caller, digest, one_spelling, read_key
from ap_resume_shim.core.protocol import Resume
from ap_resume_shim.guard import ResumeKey
from ap_resume_shim.runtime.traffic_observer import Page

if TYPE_CHECKING:
    from starlette.types import Scope


@dataclass(frozen=True, slots=True)
class Naming:
    """Makes names. None of them shows an id or a credential."""

    dialect: Dialect[Any]
    namespace: str
    """What the threads belong to."""
    credentials: tuple[str, ...]
    """Header fields that tell callers apart."""
    share_ledger: bool
    """Whether all callers share what the ledger has of a thread."""
    window: float
    """Seconds in which a caller's same answer to the same thread is refused; 0: never."""

    def key(self, scope: Scope, resume: Resume, *, route: str | None = None) -> ResumeKey:
        """What the guard gets of a resume. Raises `InvalidRequest`.

        `route` separates the `Idempotency-Key`s of different routes; default: the route of the draft.
        """
        headers = _headers(scope)
        key = read_key([value for name, value in headers if name == "idempotency-key"])
        # Servers may tell two spellings of a UUID apart, or not: two resumes that may be of one thread are.
        thread = self._thread(one_spelling(self.dialect.thread_key(resume.thread_id)))
        who = caller(headers, self.credentials)
        return ResumeKey(
            thread,
            "" if key is None else resume.fingerprint,
            key=None if key is None else digest(who, route or resume.mode.route, thread, key),
            repeat=digest(who, thread, resume.answer_fingerprint) if self.window else None,
            window=self.window,
            secret=digest("answer", who, thread, key or ""),
        )

    def page(self, scope: Scope, thread_id: str) -> Page:
        """Where the ledger has a thread, for the caller of a request. Raises `InvalidRequest`."""
        key = self.dialect.thread_key(thread_id)
        who = "" if self.share_ledger else caller(_headers(scope), self.credentials)
        return Page(self._thread(key), digest("owner", key, who))

    def _thread(self, key: str) -> str:
        return digest(self.namespace, self.dialect.name, key)


def _headers(scope: Scope) -> list[tuple[str, str]]:
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
