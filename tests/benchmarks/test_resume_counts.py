"""What one resume makes the process do: tasks, JSON parsers and pointers, which are counted and not timed."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from ap_resume_shim.core import json_pointer, shape_errors
from benchmarks.driver import Client, Loop

RESUMES: dict[str, Callable[[Client], Awaitable[None]]] = {
    "background": lambda client: client.resumes(1),
    "stream": lambda client: client.resume_events(1),
}
TASKS = 8
PARSED = ["/input/command/resume"]
"""The only pointer that a resume parses: the place of the answer in the request."""


def during(resume: Callable[[Client], Awaitable[None]], begin: Callable[[Loop], None]) -> None:
    """Run a resume to its end, call `begin`, and run another one: the first of a process also makes connections."""
    loop = Loop()

    async def run() -> None:
        client = Client(loop)
        for prepare in (lambda _: None, begin):
            prepare(loop)
            await resume(client)
            while running := asyncio.all_tasks() - {asyncio.current_task()}:
                await asyncio.wait(running)

    loop.run_until_complete(run())
    loop.close()


@pytest.mark.parametrize("mode", RESUMES)
def test_a_resume_makes_no_more_tasks_than_it_did(mode: str) -> None:
    made: Counter[str] = Counter()

    def task(loop: asyncio.AbstractEventLoop, work: Any, /, **options: Any) -> asyncio.Task[Any]:
        made[work.__qualname__] += 1
        return asyncio.Task(work, loop=loop, **options)

    during(RESUMES[mode], lambda loop: loop.set_task_factory(task))
    assert 0 < made.total() <= TASKS, made


@pytest.mark.parametrize("mode", RESUMES)
def test_a_resume_makes_no_json_parser_or_writer(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []

    def begin(_: Loop) -> None:
        for kind in (json.JSONDecoder, json.JSONEncoder):
            monkeypatch.setattr(kind, "__init__", lambda self, **_: made.append(self))

    during(RESUMES[mode], begin)
    assert made == []


@pytest.mark.parametrize("mode", RESUMES)
def test_a_resume_wraps_no_method_of_its_dialect(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    wrapped: list[object] = []
    during(RESUMES[mode], lambda _: monkeypatch.setattr(shape_errors, "_wrapped", wrapped.append))
    assert wrapped == []


@pytest.mark.parametrize("mode", RESUMES)
def test_a_resume_parses_no_pointer_into_a_response(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[str] = []
    parts = json_pointer.parts

    def counted(pointer: str) -> list[str]:
        parsed.append(pointer)
        return parts(pointer)

    during(RESUMES[mode], lambda _: monkeypatch.setattr(json_pointer, "parts", counted))
    assert parsed == PARSED
