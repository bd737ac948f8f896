"""`AuditFile`: a file with a line for each resume before it is sent, and one for its outcome."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Lock

from ap_resume_shim.core.errors import ConfigurationError, PolicyUnavailable
from ap_resume_shim.policy.audit_writer import AuditWriter, Record

logger = logging.getLogger("ap_resume_shim")

TIMEOUT = 10.0
"""Seconds in which a record must be on the disk."""
_MOST = 10_000
"""Maximum number of records that wait for the disk; those for which a resume waits are not limited."""
_UNAVAILABLE = "The audit file of the shim cannot be written, and no resume is sent without a record."


class AuditFile:
    """An append-only file of JSON lines, each with the digest of the line before.

        ResumeShim(app, audit=AuditFile("audit.jsonl", who="x-forwarded-user"))

    Only one process writes the file, in a separate thread. Records that wait for the disk at the same time share one
    `fsync`.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        who: str | None = None,
        questions: bool = False,
        answers: bool = False,
        required: bool = True,
    ) -> None:
        """Open and lock the file; a file that exists is continued.

        - `who`: name of a header field that identifies the person, such as one that an authenticating proxy sets.
        - `questions`, `answers`: record the texts of questions, and the values of answers. Default: only their digests.
        - `required`: refuse resumes while the file cannot be written. Otherwise they are sent without a record.

        Raises `ConfigurationError` if the file cannot be opened, another process writes it, or it is no audit file.
        """
        self.who = None if who is None else who.lower().encode("latin-1")
        self.questions, self.answers, self._required = questions, answers, required
        self._path, self._pid = Path(path), os.getpid()
        self._writer = AuditWriter(self._path)
        self._thread = ThreadPoolExecutor(1, "ap_resume_shim.audit")
        self._lock = Lock()
        self._pending: list[tuple[Callable[[], Record], Future[None] | None]] = []
        self._failing = False
        """True from a failure until a record is written again."""
        self._lost = 0
        """Records that could not be written since then."""

    async def record(self, make: Callable[[], Record]) -> None:
        """Write the record that `make` returns, and return when it is on the disk. `make` is called in the thread.

        Raises `PolicyUnavailable`, if the file is required.
        """
        waiter: Future[None] = Future()
        try:
            self._add(make, waiter)
            await asyncio.wait_for(asyncio.wrap_future(waiter), TIMEOUT)
        except Exception as error:
            if isinstance(error, TimeoutError):  # a thread that has begun to write the record continues
                self._failed(error, lost=int(waiter.cancel()))
            if self._required:
                raise PolicyUnavailable(_UNAVAILABLE, detail=f"{self._path} cannot be written: {_why(error)}") from None

    def note(self, make: Callable[[], Record]) -> None:
        """Write the record that `make` returns, soon. A failure is logged."""
        with suppress(RuntimeError):  # the file is closed
            self._add(make, None)

    def reopen(self) -> None:
        """Continue in a new file, after the old one was renamed (logrotate). A failure is logged."""
        self._thread.submit(self._reopen)

    def close(self) -> None:
        """Write all records, and close the file."""
        self._thread.shutdown()
        self._writer.close()

    def _add(self, make: Callable[[], Record], waiter: Future[None] | None) -> None:
        if os.getpid() != self._pid:  # a fork has no thread, and shares the lock
            failure = ConfigurationError(f"{self._path} was opened before the process forked: open one in each process")
            if waiter is not None:
                waiter.set_exception(failure)
            return
        with self._lock:
            room = waiter is not None or len(self._pending) < _MOST
            if room:
                self._pending.append((make, waiter))
            alone = len(self._pending) == 1  # else the thread takes all that are pending
        if not room:
            self._failed(TimeoutError(), lost=1)
        elif alone:
            self._thread.submit(self._flush)

    def _flush(self) -> None:
        """Write all pending records."""
        with self._lock:
            batch, self._pending = self._pending, []
        records: list[Record] = []
        waiting: list[Future[None]] = []
        for make, waiter in batch:
            if waiter is not None and not waiter.set_running_or_notify_cancel():
                continue
            try:
                records.append(make())
            except Exception as error:
                self._failed(error, [] if waiter is None else [waiter], lost=1)
            else:
                waiting += [] if waiter is None else [waiter]
        self._append(records, waiting)

    def _append(self, records: list[Record], waiting: list[Future[None]]) -> None:
        """Write records, and report the result to the resumes that wait."""
        lost = self._lost
        try:
            self._writer.append(records, sync=bool(waiting), lost=lost)
        except Exception as error:
            self._failed(error, waiting, lost=len(records))
            return
        self._recovered(lost)
        for waiter in waiting:
            waiter.set_result(None)

    def _failed(self, error: Exception, waiting: Sequence[Future[None]] = (), *, lost: int) -> None:
        """Refuse the resumes that wait. The log has one line for all failures in a row."""
        with self._lock:
            first, self._failing = not self._failing, True
            self._lost += lost
        if first:
            then = "resumes are refused" if self._required else "resumes are sent without a record"
            logger.error("the audit file %s cannot be written (%s): %s", self._path, _why(error), then)
        for waiter in waiting:
            waiter.set_exception(error)

    def _recovered(self, lost: int) -> None:
        """Called when records are written again, and the file states that `lost` are missing. More may be lost now."""
        with self._lock:
            self._lost -= lost
            ended = self._failing and self._lost == 0
            self._failing = self._failing and not ended
        if ended:
            logger.warning("the audit file %s can be written again; %d records are missing", self._path, lost)

    def _reopen(self) -> None:
        try:
            self._writer.reopen()
        except (OSError, ConfigurationError) as error:
            logger.error("the audit file %s cannot be reopened (%s): the old one goes on", self._path, _why(error))
        else:
            self._append([], [])  # the first line of the new file connects it to the old one


def _why(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"the disk did not respond within {TIMEOUT:g} seconds"
    return (error.strerror if isinstance(error, OSError) else str(error)) or type(error).__name__
