"""Driving a dialect by hand, with small answers as real servers give them."""

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
    """A client's resume."""
    return parse(strictjson.dumps({"thread_id": THREAD, **fields}), mode, now="2026-11-24T12:00:00+00:00")


def answer(value: Any, status: int = 200, *headers: tuple[str, str]) -> Response:
    """A backend's answer; text is not JSON."""
    return Response(status, headers, value.encode() if isinstance(value, str) else strictjson.dumps(value))


class Changing(dict[str, Any]):
    """What stands at each target is a list: an answer for each time, of which the last one stays."""

    def __getitem__(self, name: str) -> Any:
        values = super().__getitem__(name)
        return values.pop(0) if len(values) > 1 else values[0]


def follow(flow: Generator[Step, Any, Any], server: dict[str, Any]) -> tuple[list[str], Any]:
    """Answer what a dialect asks: `server` is what stands at "METHOD target", below the thread's path as `…`.

    An iterator stands for a state that changes: each request takes its next item.
    """
    asked: list[str] = []
    answers = None
    try:
        while True:
            step = flow.send(answers)
            if isinstance(step, Pause):
                asked.append("pause")
                answers = None
                continue
            assert isinstance(step, Ask)
            names = [f"{r.method} {r.target}".replace(f"/threads/{THREAD}", "…") for r in step.requests]
            asked.append(" + ".join(names))
            told = [next(item) if isinstance(item := server[name], Iterator) else item for name in names]
            answers = tuple(item if isinstance(item, Response) else answer(item) for item in told)
    except StopIteration as ended:
        return asked, ended.value


def look(
    dialect: Dialect[Any], server: dict[str, Any], *, agent: bool = True, **fields: Any
) -> tuple[list[str], Found[Any]]:
    """What a lookup asks, and what it finds."""
    return follow(dialect.lookup(resume(**fields), agent=agent), server)


def refused(dialect: Dialect[Any], server: dict[str, Any], **fields: Any) -> ResumeError:
    """The error that a lookup ends with."""
    with pytest.raises(ResumeError) as error:
        look(dialect, server, **fields)
    return error.value
