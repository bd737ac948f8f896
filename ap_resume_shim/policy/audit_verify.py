"""Verifies audit files: each line is unchanged and follows the line before; a torn line is reported."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ap_resume_shim.core.errors import ConfigurationError
from ap_resume_shim.policy.audit_chain import begins_a_line, digest, has_record, is_whole, read

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
    before: str | None = None
    for path in paths:
        try:
            results.append(_File(path, before).verify())
        except OSError as error:
            raise ConfigurationError(f"{path} cannot be read: {error.strerror}.") from None
        except MemoryError:
            raise ConfigurationError(f"{path} cannot be read: a line is larger than the memory.") from None
        before = results[-1].last or before  # a file without a whole line does not interrupt the chain
    return results


class _Broken:
    """The lines since the last whole one. They may be many, so they are not stored."""

    def __init__(self, first: int, line: bytes) -> None:
        """`first` is the number of the first of them."""
        self.first, self.count = first, 1
        self.size = len(line)
        """Bytes, without the newline of the last one."""
        self._digest = hashlib.sha256(line)
        self.may_be_torn = begins_a_line(line) and not has_record(line)
        """False if they cannot be those of an interrupted write."""

    def add(self, line: bytes) -> None:
        """Add a line, which follows a newline."""
        self.count += 1
        self.size += 1 + len(line)
        self._digest.update(b"\n" + line)
        self.may_be_torn = self.may_be_torn and not has_record(line)

    @property
    def described(self) -> dict[str, Any]:
        """Return the description of a torn line that the next record contains."""
        return {"bytes": self.size, "sha256": self._digest.hexdigest()}


class _File:
    """Reads one file, line by line."""

    def __init__(self, path: Path, before: str | None) -> None:
        """`before` is the digest of the last line of the files before; None for the first file."""
        self._result = Verification(path)
        self._before = before
        self._broken: _Broken | None = None

    def verify(self) -> Verification:
        """Return the result."""
        ended = True
        with self._result.path.open("rb") as file:
            for number, line in enumerate(file, 1):
                content, ended = line.removesuffix(b"\n"), line.endswith(b"\n")
                if is_whole(content) and (record := read(content)) is not None:
                    self._check(number, content, record)
                elif self._broken is None:
                    self._broken = _Broken(number, content)
                else:
                    self._broken.add(content)
        if (rest := self._broken) is not None:
            if not ended and rest.may_be_torn:
                self._result.torn.append(f"Line {rest.first} is torn at the end of the file ({rest.size} bytes).")
            else:
                self._changed(rest)
        return self._result

    def _check(self, number: int, line: bytes, record: dict[str, Any]) -> None:
        """Check a whole line against the line before."""
        result, intact = self._result, True
        if self._broken is not None:
            intact = self._is_recorded_as_torn(self._broken, record)
            self._broken = None
        if not result.records:
            if record.get("event") not in _FIRST and intact:
                result.problems.append(f"Line {number} is not the beginning of an audit file: lines are missing.")
            elif self._before is not None and record["prev"] != self._before:
                begins = ": it begins a chain, as a file does that was new at a start" if record["prev"] is None else ""
                result.problems.append(f"Line {number} does not follow the last line of the file before{begins}.")
        elif record["prev"] != result.last and intact:
            result.problems.append(f"Line {number} does not follow the line before: a line was removed or replaced.")
        result.records += 1
        result.last = digest(line)

    def _is_recorded_as_torn(self, rest: _Broken, record: dict[str, Any]) -> bool:
        """Return True if the record says that the broken lines before it are torn; else report that they changed."""
        recorded = record.get("torn") == rest.described
        if recorded:
            self._result.torn.append(f"Line {rest.first} is torn, and the next record says so.")
        else:
            self._changed(rest)
        return recorded

    def _changed(self, rest: _Broken) -> None:
        last = rest.first + rest.count - 1
        which = f"Line {rest.first} was" if rest.count == 1 else f"At least one of the lines {rest.first} to {last} was"
        self._result.problems.append(f"{which} changed.")
