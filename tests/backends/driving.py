"""Drives a dialect step by step, with short responses like those of real servers."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any

import pytest

from ap_resume_shim.core import strictjson
from ap_resume_shim.core.dialect import Dialect, Found
from ap_resume_shim.core.errors import ResumeError
from ap_resume_shim.core.http import Response
from ap_resume_shim.core.protocol import Mode, Resume, parse
from ap_resume_shim.core.steps import Ask, Pause, Step

THREAD = "6a1b2c3d-0000-4000-8000-000000000001"


def resume(mode: Mode = Mode.WAIT, **fields: Any) -> Resume:
    """Return a parsed resume of `THREAD`."""
    return parse(strictjson.dumps({"thread_id": THREAD, **fields}), mode, now="2026-11-24T12:00:00+00:00")


def answer(value: Any, status: int = 200, *headers: tuple[str, str]) -> Response:
    """Return a backend's response: a `str` is the body itself, any other value is encoded as JSON."""
    return Response(status, headers, value.encode() if isinstance(value, str) else strictjson.dumps(value))


class Changing(dict[str, Any]):
    """A server whose targets have lists of responses, one for each request; the last one is repeated."""

    def __getitem__(self, name: str) -> Any:
        values = super().__getitem__(name)
        return values.pop(0) if len(values) > 1 else values[0]


def follow(flow: Generator[Step, Any, Any], server: dict[str, Any]) -> tuple[list[str], Any]:
    """Run a dialect's flow against `server`, and return its requests and its result.

    `server` has the response for each "METHOD target", with `…` for the path of the thread. An iterator is a state
    that changes: each request gets its next item.
    """
    requests: list[str] = []
    answers = None
    try:
        while True:
            step = flow.send(answers)
            if isinstance(step, Pause):
                requests.append("pause")
                answers = None
                continue
            assert isinstance(step, Ask)
            names = [f"{r.method} {r.target}".replace(f"/threads/{THREAD}", "…") for r in step.requests]
            requests.append(" + ".join(names))
            found = [next(item) if isinstance(item := server[name], Iterator) else item for name in names]
            answers = tuple(item if isinstance(item, Response) else answer(item) for item in found)
    except StopIteration as ended:
        return requests, ended.value


def look(
    dialect: Dialect[Any], server: dict[str, Any], *, full: bool = True, **fields: Any
) -> tuple[list[str], Found[Any]]:
    """Run a lookup, and return its requests and its result."""
    return follow(dialect.inspect_thread(resume(**fields), full=full), server)


def refused(dialect: Dialect[Any], server: dict[str, Any], **fields: Any) -> ResumeError:
    """Run a lookup, and return the error that it raises."""
    with pytest.raises(ResumeError) as error:
        look(dialect, server, **fields)
    return error.value
