"""Writes an audit file: locks it, appends lines, continues the chain after a restart, a failure or a rotation.

All methods block. One thread at a time uses a writer.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ap_resume_shim.core.errors import ConfigurationError
from ap_resume_shim.policy.audit_chain import begins_a_line, digest, is_whole, may_be_torn, seal

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows
    fcntl = None  # type: ignore[assignment]

Record = dict[str, Any]

_FLAGS = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
_BLOCK = 64 * 1024


def now() -> str:
    """Return the current time in UTC, as RFC 3339."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


class AuditWriter:
    """The only writer of an audit file."""

    def __init__(self, path: Path) -> None:
        """Open and lock the file, and find the end of its chain. Raises `ConfigurationError`."""
        self._path = path
        self._prev: str | None = None
        self._before: str | None = None
        """The digest of the last line in the file before this one."""
        self._mark: Record | None = None
        """The record that precedes the next one: why the file was opened, and what precedes it."""
        self._failed = self._created = self._unended = False
        try:
            self._open("opened")
        except OSError as error:
            raise ConfigurationError(f"The audit file {path} cannot be opened: {error.strerror}.") from None

    def append(self, records: Sequence[Record], *, sync: bool, lost: int = 0) -> None:
        """Append records; with `sync`, return when they are on the disk. Raises `OSError` and `ValueError`.

        `lost` is the number of records that could not be written since the last success.
        """
        if os.fstat(self._file).st_nlink == 0:  # the file was removed: what is written to it is lost
            self.reopen()
        if self._failed:
            self._find_end("recovered" if self._mark is None else self._mark["event"], "recovered")
        prev, lines = self._prev, []
        mark = self._mark or ({"event": "recovered", "pid": os.getpid()} if lost else None)
        first = [] if mark is None else [{"time": now(), **mark, **({"lost": lost} if lost else {})}]
        for record in (*first, *records):
            lines.append(line := seal(record, prev))
            prev = digest(line)
        self._failed = True
        _write(self._file, b"\n" * self._unended + b"".join(line + b"\n" for line in lines))
        if sync:
            os.fsync(self._file)
            if self._created:
                _sync_folder(self._path)
        self._failed = False
        self._created = self._created and not sync
        self._prev, self._mark, self._unended = prev, None, False

    def reopen(self) -> None:
        """Continue in a new file at the same path, if the old one was renamed or removed. Its first line follows with
        the next call of `append`.

        Raises `OSError`, and keeps the old one.

        Raises `ConfigurationError` if the file at the path belongs to another process, or is no audit file.
        """
        old = self._file
        try:
            if os.path.samestat(os.fstat(old), self._path.stat()):
                return
        except FileNotFoundError:
            pass
        if self._failed:
            self._find_end("recovered", "recovered")
        os.fsync(old)
        self._before = self._prev
        self._open("rotated")
        self._failed = False
        os.close(old)

    def close(self) -> None:
        """Close the file, which releases the lock."""
        os.close(self._file)

    def _open(self, event: str) -> None:
        file = os.open(self._path, _FLAGS, 0o600)
        try:
            _lock(file, self._path)
            self._find_end(event, event, file)
        except BaseException:
            os.close(file)
            raise
        self._file = file

    def _find_end(self, first: str, event: str, file: int | None = None) -> None:
        """Set the digest of the last whole line, and the record about what follows it.

        `event` is that of the record; `first`, if it is the first one of the file.
        Raises `ConfigurationError` if the file does not end as an audit file does.
        """
        line, rest, ended = _end(self._file if file is None else file)
        if not may_be_torn(rest):
            raise ConfigurationError(
                f"{self._path} is no audit file, or its end was changed: check it with `ap-resume-shim audit verify`, "
                "and move it away."
            )
        self._created = line is None and not rest
        self._prev = self._before if line is None else digest(line)
        self._unended = not ended
        self._mark = {"event": first if line is None else event, "pid": os.getpid()}
        if rest := rest.removesuffix(b"\n"):
            self._mark["torn"] = {"bytes": len(rest), "sha256": hashlib.sha256(rest).hexdigest()}


def _end(file: int) -> tuple[bytes | None, bytes, bool]:
    """Return the last whole line, the bytes after it, and whether the file ends with a newline.

    None if there is no whole line.
    """
    position, tail = os.fstat(file).st_size, b""
    os.lseek(file, 0, os.SEEK_SET)
    if position and not begins_a_line(beginning := _read(file, min(position, 64))):
        return None, beginning, True  # another kind of file, which may be large
    while True:
        lines = tail.split(b"\n")
        ended = not lines[-1]
        for index in range(len(lines) - 1, 0 if position else -1, -1):
            if is_whole(lines[index]):
                return lines[index], b"\n".join(lines[index + 1 :]), ended
        if not position:
            return None, tail, ended
        step = min(position, max(_BLOCK, len(tail)))
        position -= step
        os.lseek(file, position, os.SEEK_SET)
        tail = _read(file, step) + tail


def _read(file: int, size: int) -> bytes:
    read = b""
    while len(read) < size and (part := os.read(file, size - len(read))):
        read += part
    return read


def _write(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]


def _lock(file: int, path: Path) -> None:
    """Lock the file, without waiting. Raises `ConfigurationError`."""
    try:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:  # pragma: no cover - Windows
            import msvcrt

            os.lseek(file, 1 << 40, os.SEEK_SET)  # the lock is mandatory there: not on a byte that is written
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
    except OSError:
        raise ConfigurationError(
            f"The audit file {path} is in use by another process: each process needs a file of its own."
        ) from None


def _sync_folder(path: Path) -> None:
    """Make the name of a new file durable. Windows has no such call."""
    if os.name == "posix":
        folder = os.open(path.absolute().parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
