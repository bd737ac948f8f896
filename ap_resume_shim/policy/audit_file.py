"""`AuditFile`: a file with a line for each resume before it is sent, and one for its outcome."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
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
"""Records that wait for the disk, at most; those of resumes that wait for it are not limited."""
_UNAVAILABLE = "The audit file of the shim cannot be written, and no resume is sent without a record."


class AuditFile:
    """An append-only file of JSON lines, each with the digest of the line before.

        ResumeShim(app, audit=AuditFile("audit.jsonl", who="x-forwarded-user"))

    One process writes the file. A thread does the writing; records that wait for the disk at the same time share one
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
        self._lost = 0

    async def record(self, make: Callable[[], Record]) -> None:
        """Write the record that `make` returns, and return when it is on the disk. `make` is called in the thread.

        Raises `PolicyUnavailable`, if the file is required.
        """
        waiter: Future[None] = Future()
        try:
            self._add(make, waiter)
            await asyncio.wait_for(asyncio.wrap_future(waiter), TIMEOUT)
        except Exception as error:
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
            if waiter is None and len(self._pending) >= _MOST:  # the disk does not respond
                self._lost += 1
                return
            self._pending.append((make, waiter))
            if len(self._pending) > 1:
                return  # the thread takes all that are pending
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
                self._failed(error, [] if waiter is None else [waiter], 1)
            else:
                waiting += [] if waiter is None else [waiter]
        try:
            self._writer.append(records, sync=bool(waiting), lost=self._lost)
        except Exception as error:
            self._failed(error, waiting, len(records))
            return
        if self._lost:
            logger.warning("the audit file %s can be written again; %d records are missing", self._path, self._lost)
            self._lost = 0
        for waiter in waiting:
            waiter.set_result(None)

    def _failed(self, error: Exception, waiting: list[Future[None]], lost: int) -> None:
        if not self._lost:
            then = "resumes are refused" if self._required else "resumes are sent without a record"
            logger.error("the audit file %s cannot be written (%s): %s", self._path, _why(error), then)
        self._lost += lost
        for waiter in waiting:
            waiter.set_exception(error)

    def _reopen(self) -> None:
        try:
            self._writer.reopen()
        except (OSError, ConfigurationError) as error:
            logger.error("the audit file %s cannot be reopened (%s): the old one goes on", self._path, _why(error))


def _why(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"the disk did not respond within {TIMEOUT:g} seconds"
    return (error.strerror if isinstance(error, OSError) else str(error)) or type(error).__name__
