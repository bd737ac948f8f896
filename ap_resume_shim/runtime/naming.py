"""The names by which the guard and the ledger know threads and callers: digests."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ap_resume_shim.core.dialect import Dialect
from ap_resume_shim.core.idempotency import answer_fingerprints, caller, digest, one_spelling, read_key
from ap_resume_shim.core.protocol import Resume
from ap_resume_shim.core.steps import Entry
from ap_resume_shim.guard import ResumeKey
from ap_resume_shim.guard.ledger import Ledger
from ap_resume_shim.runtime.traffic_observer import LedgerView

if TYPE_CHECKING:
    from starlette.types import Scope


DOUBLE_CLICK = 1.0
"""Seconds within which a caller's repeated answer to a thread is a double click, if vendor resumes are guarded."""


@dataclass(frozen=True, slots=True)
class Naming:
    """Makes names for threads and callers. No name reveals an id or a credential."""

    dialect: Dialect[Any]
    namespace: str
    """The namespace of the threads: processes that share a guard and a backend use the same one."""
    credentials: tuple[str, ...]
    """Names of the header fields that identify a caller."""
    share_ledger: bool
    """True if all callers share the ledger's entries of a thread."""
    window: float
    """Seconds within which a caller's repeated answer to a thread is refused; 0: never."""

    def key(self, scope: Scope, resume: Resume, *, route: str | None = None, resent: bool = False) -> ResumeKey:
        """Return the key of a resume for the guard. Raises `InvalidRequest`.

        `route` separates the `Idempotency-Key`s of different routes; default: the route of the draft. `resent`: True if
        clients may send the resume again when its response is lost, or has ended.
        """
        headers = _headers(scope)
        key = read_key([value for name, value in headers if name == "idempotency-key"])
        # Some servers distinguish spellings of a UUID, others do not: all spellings share one name.
        thread = self._thread(one_spelling(self.dialect.thread_key(resume.thread_id)))
        who = caller(headers, self.credentials)
        answers = answer_fingerprints(resume.value, self.dialect.interrupt_id_form) if self.window else ()
        repeat, unnamed = (digest(who, thread, answer) for answer in answers) if answers else (None, None)
        return ResumeKey(
            thread,
            "" if key is None else resume.fingerprint,
            key=None if key is None else digest(who, route or resume.mode.route, thread, key),
            repeat=repeat,
            unnamed=unnamed,
            window=self.window,
            resent=resent,
            secret=digest("answer", who, thread, key or ""),
        )

    def view(self, scope: Scope, thread_id: str) -> LedgerView:
        """Return the ledger's view of a thread for the caller of a request. Raises `InvalidRequest`."""
        key = self.dialect.thread_key(thread_id)
        who = "" if self.share_ledger else caller(_headers(scope), self.credentials)
        return LedgerView(self._thread(key), digest("owner", key, who))

    def ledger_reader(
        self, ledger: Ledger, scope: Scope, own: str = ""
    ) -> Callable[[str | None], Awaitable[list[Entry]]]:
        """Return a function that reads the ledger for the caller of a request; `own` is the thread for None."""
        return lambda of: self.view(scope, own if of is None else of).read(ledger)

    def _thread(self, key: str) -> str:
        return digest(self.namespace, self.dialect.name, key)


def _headers(scope: Scope) -> list[tuple[str, str]]:
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
