"""`explain` shows the requests that a running shim sends, in the same round trips: for every backend and mode."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable
from copy import copy
from dataclasses import replace
from math import inf
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from ap_resume_shim import MemoryGuard, ResumeShim
from ap_resume_shim.backends import backend_names, load_backend
from ap_resume_shim.core import steps, strictjson
from ap_resume_shim.core.dialect import Dialect
from ap_resume_shim.core.http import Request
from ap_resume_shim.core.idempotency import digest
from ap_resume_shim.core.protocol import Mode, parse
from ap_resume_shim.guard.contents import owned
from ap_resume_shim.profiles.dialect import ProfileDialect
from ap_resume_shim.profiles.loading import load_profile
from ap_resume_shim.tools.describe import MODES
from ap_resume_shim.tools.explain import RecordedBackend, Sent, explain
from tests.backends.playing import NOW, THREAD, Case, recorded, recorded_case
from tests.recordings import load_all
from tests.recordings.apps import Hurried, call

RECORDINGS = [each for each in load_all() if each.case.rpartition("-")[0] in ("interrupted", "asks-again", "fails")]

MOMENT = 0.1
"""Seconds until a response begins."""
FIRST_EVENT = re.compile(rb".*?\n\r?\n", re.DOTALL)


class Clock(Hurried):
    """A loop whose clock moves only where it would sleep."""

    def time(self) -> float:
        """Return what was leapt over."""
        return self.leapt


def by_round_trip(requests: Iterable[Sent]) -> list[list[str]]:
    """The requests that `explain` shows, as `METHOD target`, in order within each round trip."""
    trips: dict[int, list[str]] = {}
    for each in requests:
        trips.setdefault(each.round_trip, []).append(f"{each.request.method} {each.request.target}")
    return [sorted(trips[number]) for number in sorted(trips)]


def explained(case: Case) -> list[list[str]]:
    resume = parse(case.body, case.mode, now=NOW, nonce="n" * 32)
    return by_round_trip(explain(resume, case.dialect, case.answers))


class Server:
    """The backend of a recorded example. Its thread is idle once it has received the resume."""

    def __init__(self, case: Case) -> None:
        self.trips: list[list[str]] = []
        """The requests, as `METHOD target`: those in one list were sent within half a moment."""
        self._stage = RecordedBackend(parse(case.body, case.mode, now=NOW), case.answers)
        self._dialect = case.dialect
        self._resume: Request | None = None
        self._begun = -inf

    @property
    def dialect(self) -> Dialect[Any]:
        """The dialect, whose lookups show an idle thread after the resume."""
        staged = copy(self._dialect)
        for name in ("inspect_thread", "refresh_thread"):
            look = getattr(self._dialect, name)
            setattr(staged, name, lambda *given, _look=look, **more: self._stage.lookup(_look(*given, **more)))
        staged.resume = self._noted  # type: ignore[method-assign,assignment]
        return staged

    def _noted(self, *given: Any) -> Request:
        self._resume = self._dialect.resume(*given)
        return self._resume

    async def note(self, thread: str, entry: Any) -> bool:
        """The ledger is what was recorded."""
        return False

    async def recall(self, thread: str) -> list[Any]:
        """Return the recorded entries of the ledger."""
        owner = digest("owner", self._dialect.thread_key(THREAD), "")
        return [owned(entry, owner) for entry in self._stage.answer(steps.ReadLedger())]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Respond as recorded, a moment later."""
        query = scope["query_string"].decode()
        target = scope["raw_path"].decode() + (f"?{query}" if query else "")
        request = Request(scope["method"], target, (await receive())["body"] or None)
        now = asyncio.get_running_loop().time()
        if now > self._begun + MOMENT / 2:
            self.trips.append([])
            self._begun = now
        self.trips[-1].append(f"{request.method} {request.target}")
        await asyncio.sleep(MOMENT)
        resumes = self._resume is not None and (target, request.body) == (self._resume.target, self._resume.body)
        response = self._stage.answer(steps.Send(request) if resumes else steps.ReadUntilIdle(request, 0, bool))
        body = self._stage.answer(steps.ReadBody()) if resumes else response.body
        headers = [(name.encode(), value.encode()) for name, value in response.headers]
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        first = FIRST_EVENT.match(body)
        cut = len(body) if first is None else first.end()
        await send({"type": "http.response.body", "body": body[:cut], "more_body": True})
        await asyncio.sleep(MOMENT / 10 if resumes else 0)
        await send({"type": "http.response.body", "body": body[cut:], "more_body": False})


async def resumed(case: Case) -> list[list[str]]:
    """The requests that the shim sends for a resume, by round trip."""
    server, guard = Server(case), MemoryGuard()
    guard.ledger = server
    shim = ResumeShim(server, server.dialect, guard=guard, share_ledger=True)
    await call(shim, "PATCH", case.mode.route, {}, case.body)
    while running := asyncio.all_tasks() - {asyncio.current_task()}:
        await asyncio.wait(running)
    return [sorted(trip) for trip in server.trips]


@pytest.mark.parametrize("mode", list(Mode), ids=MODES.values())
@pytest.mark.parametrize("name", backend_names())
def test_explain_shows_what_a_running_shim_sends(name: str, mode: Mode) -> None:
    case = recorded_case(name, mode)
    with asyncio.Runner(loop_factory=Clock) as runner:
        assert runner.run(resumed(case)) == explained(case)


PROFILE = """
name = "sessions"
thread_is = "a session"
lookup.session.request = "GET /sessions/{thread_id}"
found.status = "/session/status"
resume = { background = "POST /sessions/{thread_id}/answer", answer = "/answer" }
run.id = "/id"
delete = "DELETE /sessions/{thread_id}"
"""
"""A backend without a request for the run: the thread shows that it has ended, once it has shown the resume."""
SESSIONS = Case(
    "sessions background",
    ProfileDialect(load_profile(PROFILE)),
    Mode.BACKGROUND,
    strictjson.dumps({"thread_id": THREAD, "input": "yes"}),
    [
        {"request": "GET /sessions/{thread_id}", "body": {"status": "interrupted"}},
        {"request": "POST /sessions/{thread_id}/answer", "body": {"id": "r1"}},
    ],
)
DELETING = [name for name in backend_names() if "on_completion" not in load_backend(name).unsupported]


@pytest.mark.parametrize(
    "case", [SESSIONS, *(recorded_case(name, mode) for name in DELETING for mode in Mode)], ids=str
)
def test_explain_shows_how_a_running_shim_deletes_the_thread(case: Case) -> None:
    agent = {"agent_id": "shopper"} if case.dialect.name == "adk" else {}
    body = {**strictjson.read(case.body), **agent, "on_completion": "delete"}
    deleting = replace(case, body=strictjson.dumps(body))
    with asyncio.Runner(loop_factory=Clock) as runner:
        assert runner.run(resumed(deleting)) == explained(deleting)


@pytest.mark.parametrize("recording", RECORDINGS, ids=str)
def test_explain_shows_the_round_trips_that_were_recorded(recording: Any) -> None:
    made = [[exchange["request"] for exchange in step] for step in recording.exchanges]
    wanted = [sorted(f"{each['method']} {each['target']}" for each in step) for step in made]
    assert explained(recorded(recording)) == wanted
