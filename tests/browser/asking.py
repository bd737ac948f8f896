"""A stand-in for the shim behind the console: questions, and responses to their answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from ap_resume_shim.console import Console
from ap_resume_shim.core.interrupt import Interrupt
from ap_resume_shim.core.questions import describe
from ap_resume_shim.sidecar.reserved import ReservedPaths
from tests.support.serving import serving

Event = tuple[str, Any]
DONE: list[Event] = [("metadata", {"run_id": "r"}), ("updates", {"step": {"ok": True}}), ("values", {"ok": True})]


def question(
    thread: str, value: Any, schema: Any = None, *, agent: str = "mailer", minutes: int = 0, **more: Any
) -> dict[str, Any]:
    """The question of a thread, as the shim lists it."""
    interrupt_id = sha256(thread.encode()).hexdigest()[:32]
    described = describe(Interrupt(interrupt_id, value, schema)).as_json()
    body = {"thread_id": thread, "agent_id": agent, "interrupt_id": interrupt_id, "input": described["answer"]}
    return {
        "thread_id": thread,
        "agent_id": agent,
        "interrupt_id": interrupt_id,
        "value": value,
        "response_schema": schema,
        "asked_at": f"2026-11-30T08:{minutes:02}:00Z",
        "expires_at": None,
        **described,
        "resume": {"method": "PATCH", "path": "/runs/resume", "body": body},
        **more,
    }


@dataclass
class Asking:
    """The questions, what the server responds, and what it received."""

    questions: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    listed: bool = True
    page_size: int = 20
    empty_pages: int = 0
    """The number of pages without a question, in front of the others."""
    events: list[Event] = field(default_factory=lambda: list(DONE))
    """The stream of each accepted answer."""
    refusal: tuple[int, dict[str, Any]] | None = None
    """The response to every answer, if it is refused."""
    credentials: tuple[str, str] | None = None
    """The header that each request needs."""
    answers: list[dict[str, Any]] = field(default_factory=list)
    """The bodies of the answers, with the `key` of each."""
    lists: list[dict[str, str]] = field(default_factory=list)
    """The queries of the lists."""
    following: list[dict[str, Any]] = field(default_factory=list)
    """The questions that are asked after an accepted answer."""

    def app(self) -> Any:
        """The app, with the console."""
        routes = [
            Route("/-/questions", self._list),
            Route("/-/questions/{thread}", self._thread),
            Route("/runs/resume/{mode}", self._resume, methods=["PATCH"]),
        ]
        return ReservedPaths(Starlette(routes=routes), "/-", dict.fromkeys(("console", "console/"), Console()))

    async def _list(self, request: Request) -> Response:
        if refused := self._refuse(request):
            return refused
        query = dict(request.query_params)
        self.lists.append(query)
        chosen = [each for each in self.questions if query.get("agent") in (None, each["agent_id"])]
        start = int(query.get("cursor", -self.empty_pages * self.page_size))
        if start < 0:
            next_page = str(start + self.page_size)
            return JSONResponse({"questions": [], "next": next_page, "notes": [], "listed": True})
        end = start + self.page_size
        following = str(end) if end < len(chosen) else None
        return JSONResponse(
            {"questions": chosen[start:end], "next": following, "notes": self.notes, "listed": self.listed}
        )

    async def _thread(self, request: Request) -> Response:
        if refused := self._refuse(request):
            return refused
        thread = request.path_params["thread"]
        found = [each for each in self.questions if each["thread_id"] == thread]
        status = "interrupted" if found else "idle"
        return JSONResponse({"thread_id": thread, "status": status, "questions": found, "notes": []})

    async def _resume(self, request: Request) -> Response:
        if refused := self._refuse(request):
            return refused
        body = json.loads(await request.body())
        self.answers.append({**body, "key": request.headers["idempotency-key"]})
        if self.refusal:
            status, error = self.refusal
            return JSONResponse(error, status)
        ids = {body["interrupt_id"]} if "interrupt_id" in body else set(body["input"])
        self.questions = [each for each in self.questions if each["interrupt_id"] not in ids]
        self.questions += self.following
        if request.path_params["mode"] == "wait":
            return JSONResponse({"run": {}, "values": {"ok": True}})
        return StreamingResponse(self._stream(), media_type="text/event-stream")

    async def _stream(self) -> AsyncIterator[str]:
        for name, data in self.events:
            await asyncio.sleep(0.02)
            yield f"event: {name}\ndata: {json.dumps(data)}\n\n"

    def _refuse(self, request: Request) -> Response | None:
        if self.credentials is None or request.headers.get(self.credentials[0]) == self.credentials[1]:
            return None
        error = {"code": "unauthorized", "message": "The backend refused the request: no token.", "metadata": {}}
        return JSONResponse(error, 401)


@contextmanager
def asking(*questions: dict[str, Any], **options: Any) -> Iterator[tuple[Asking, str]]:
    """Serve questions during the block; yields the server and the URL of the console."""
    served = Asking(list(questions), **options)
    with serving(served.app()) as url:
        yield served, f"{url}/-/console"
