"""Verifies audit files: each line is unchanged and follows the line before; a torn line is reported."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ap_resume_shim.core.errors import ConfigurationError
from ap_resume_shim.policy.audit_chain import digest, is_whole, may_be_torn

_FIRST = ("opened", "rotated")
"""Events of the first record of a file."""


@dataclass(slots=True)
class Verification:
    """The result for one file."""

    path: Path
    records: int = 0
    last: str | None = None
    """Digest of the last whole line."""
    problems: list[str] = field(default_factory=list)
    """Lines that were changed, removed or added, each as a sentence."""
    torn: list[str] = field(default_factory=list)
    """Lines whose writing was interrupted, each as a sentence."""

    def lines(self) -> list[str]:
        """Return the result as lines of text."""
        state = "is damaged" if self.problems else "is complete and unchanged"
        return [
            f"{self.path} {state}: {self.records} records, the last digest is {self.last}.",
            *(f"  {each}" for each in (*self.problems, *self.torn)),
        ]


def verify(paths: Iterable[Path]) -> list[Verification]:
    """Verify audit files; several are those of one process, in the order of their rotation.

    Raises `ConfigurationError` for a file that cannot be read.
    """
    results: list[Verification] = []
    for path in paths:
        before = results[-1].last if results else None
        try:
            results.append(_File(path, before).verify())
        except OSError as error:
            raise ConfigurationError(f"{path} cannot be read: {error.strerror}.") from None
    return results


class _File:
    """Reads one file, line by line."""

    def __init__(self, path: Path, before: str | None) -> None:
        """`before` is the digest of the last line of the file before; None for the first file."""
        self._result = Verification(path)
        self._before = before
        self._broken: list[bytes] = []
        """The lines since the last whole one."""
        self._broken_at = 0

    def verify(self) -> Verification:
        """Return the result."""
        with self._result.path.open("rb") as file:
            for number, line in enumerate(file, 1):
                content = line.removesuffix(b"\n")
                if is_whole(content):
                    self._check(number, content)
                else:
                    self._broken_at = self._broken_at or number
                    self._broken.append(line)
        rest = b"".join(self._broken)
        if rest and not rest.endswith(b"\n") and may_be_torn(rest):
            self._result.torn.append(f"Line {self._broken_at} is torn at the end of the file ({len(rest)} bytes).")
        elif rest:
            self._changed()
        return self._result

    def _check(self, number: int, line: bytes) -> None:
        """Check a whole line against the line before."""
        result, record = self._result, json.loads(line)
        intact = True
        if self._broken:
            intact = self._is_recorded_as_torn(record)
        if not result.records:
            if record.get("event") not in _FIRST and intact:
                result.problems.append(f"Line {number} is not the beginning of an audit file: lines are missing.")
            elif self._before is not None and record["prev"] != self._before:
                result.problems.append(f"Line {number} does not follow the last line of the file before.")
        elif record["prev"] != result.last and intact:
            result.problems.append(f"Line {number} does not follow the line before: a line was removed or replaced.")
        result.records += 1
        result.last = digest(line)

    def _is_recorded_as_torn(self, record: dict[str, Any]) -> bool:
        """Return True if the record says that the broken lines before it are torn; else report that they changed."""
        rest = b"".join(self._broken)[:-1]
        torn = {"bytes": len(rest), "sha256": hashlib.sha256(rest).hexdigest()}
        recorded = record.get("torn") == torn
        if recorded:
            self._result.torn.append(f"Line {self._broken_at} is torn, and the next record says so.")
        else:
            self._changed()
        self._broken, self._broken_at = [], 0
        return recorded

    def _changed(self) -> None:
        first, count = self._broken_at, len(self._broken)
        which = f"Line {first} was" if count == 1 else f"At least one of the lines {first} to {first + count - 1} was"
        self._result.problems.append(f"{which} changed.")
