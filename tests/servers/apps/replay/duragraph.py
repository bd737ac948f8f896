"""Duragraph's control plane as its source tells it (Duragraph/duragraph, `controlplane/endpoints`), not the server.

The server is in Go and wants PostgreSQL and NATS. Read there: routes, statuses, texts of errors, which events a stream
has and when it ends, what becomes of `command.resume` (`runs_resume.go`, `worker/command.go`). Not known, so made up:
how long a worker takes to begin, and that a cancelled run stops.

What is worth knowing of it: null is no answer: the step then reads whatever was answered before. The worker reads
numbers as doubles; the command is kept as `jsonb`, which takes no U+0000. A run does not tell
its question, its output or its error; a thread's `status` is `idle` for ever; `/state` is 404 before the first
snapshot; the stream and the join end when the run ends, not when it asks. (The engine before this one took a resume and
never went on: `Resume` set `in_progress`, from which `Start` refuses to start.)
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route

from .agent import Work, scenario

WORDS = {"queued": "pending", "in_progress": "running", "requires_action": "interrupted", "completed": "success"}
"""A run's status as it is stored, and as the API shows it; `failed` and `cancelled` are `error`."""
GRAPH = "scenarios"
ASSISTANT = "0f7b6c1e-5f0a-4a5e-9d5c-3c2a1b4d5e6f"


@dataclass
class Run:
    thread_id: str
    body: dict[str, Any]
    run_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    status: str = "queued"
    created_at: str = field(default_factory=lambda: _now())
    updated_at: str = field(default_factory=lambda: _now())
    interrupt: str | None = None
    """The open one. Its id is told by nothing but the answer to a resume."""
    events: list[tuple[str, Any]] = field(default_factory=list)
    queues: list[asyncio.Queue[tuple[str, Any]]] = field(default_factory=list)
    channels: dict[str, Any] = field(default_factory=dict)
    snapshot: bool = False
    work: Work = field(init=False)

    def as_json(self) -> dict[str, Any]:
        return {
            "run_id": self.run_id,
            "thread_id": self.thread_id,
            "assistant_id": ASSISTANT,
            "status": WORDS.get(self.status, "error"),
            "multitask_strategy": "reject",
            "metadata": self.body.get("metadata") or {},
            "kwargs": {},
            "created_at": self.created_at,
            "updated_at": self.updated_at,
        }

    def become(self, status: str, event: str, payload: Any) -> None:
        self.status, self.updated_at = status, _now()
        self.events.append((event, payload))
        for queue in self.queues:
            queue.put_nowait((event, payload))


THREADS: dict[str, dict[str, Any]] = {}
RUNS: dict[str, Run] = {}
OVER = {"run.completed", "run.failed", "run.cancelled"}


async def perform(run: Run) -> None:
    """The worker: from one pause to the next, or to the end."""
    if run.status == "queued":
        await asyncio.sleep(0.02)
        run.become("in_progress", "run.started", {})
    state = await run.work.stop()
    run.channels |= run.work.values
    run.snapshot = True
    if run.status != "in_progress":
        pass  # cancelled meanwhile
    elif state == "asking":
        run.interrupt = str(uuid.uuid4())
        reason = {"interrupt_id": run.interrupt, "reason": "human", "node_id": "ask"}
        run.become("requires_action", "run.requires_action", reason)
    elif state == "failed":
        run.become("failed", "run.failed", {"error": run.work.error})
    else:
        run.become("completed", "run.completed", {"output": run.channels})


async def create_thread(request: Request) -> Response:
    body, now = await _body(request), _now()
    thread_id = body.get("thread_id") or str(uuid.uuid4())
    THREADS[thread_id] = {
        "thread_id": thread_id,
        "status": "idle",
        "metadata": body.get("metadata") or {},
        "config": {},
        "created_at": now,
        "updated_at": now,
    }
    return JSONResponse(THREADS[thread_id], 201)


async def read_thread(request: Request) -> Response:
    return JSONResponse(_thread(request, "not found"))


async def delete_thread(request: Request) -> Response:
    thread_id = _thread(request, "not found")["thread_id"]
    del THREADS[thread_id]
    for run in runs_of(thread_id):
        del RUNS[run.run_id]
    return Response(status_code=200)


async def read_state(request: Request) -> Response:
    """The newest snapshot. None yet: 404, also for a thread that there is."""
    kept = [run for run in runs_of(request.path_params["id"]) if run.snapshot]
    if not kept:
        raise HTTPException(404, "not found")
    state = {"channels": kept[-1].channels, "frontier": []}
    checkpoint = {"checkpoint_id": "1"}
    told = {"values": state, "next": [], "tasks": [], "metadata": {}, "checkpoint": checkpoint, "created_at": _now()}
    return JSONResponse(told)


async def create_run(request: Request) -> Response:
    thread, body = _thread(request, "not found"), await _body(request)
    if body.get("assistant_id") not in (GRAPH, ASSISTANT):
        raise HTTPException(404, "no assistant found for graph")
    run, given = Run(thread["thread_id"], body), body.get("input") or {}
    RUNS[run.run_id] = run
    run.events.append(("run.created", body))
    run.channels |= given
    run.work = Work(scenario(given.get("scenario", ""), float(given.get("secs") or 0)), given.get("ref", ""))
    asyncio.get_running_loop().create_task(perform(run))
    return JSONResponse(run.as_json(), 201)


async def list_runs(request: Request) -> Response:
    """Newest first."""
    runs = runs_of(_thread(request, "thread not found")["thread_id"])
    return JSONResponse([run.as_json() for run in reversed(runs)][: int(request.query_params.get("limit", 10))])


async def read_run(request: Request) -> Response:
    return JSONResponse(_run(request, "not found").as_json())


async def resume(request: Request) -> Response:
    """The command goes to the worker as it is; without a value, or with null, the step reads an older one, or none."""
    thread_id, run_id = _uuid(request, "id", "invalid thread id"), _uuid(request, "rid", "invalid run id")
    command = (await _body(request)).get("command") or {}
    if "\\u0000" in json.dumps(command):
        raise HTTPException(500, "ERROR: unsupported Unicode escape sequence (SQLSTATE 22P05)")
    run = RUNS.get(run_id)
    if run is None or run.thread_id != thread_id or run.status != "requires_action":
        raise HTTPException(404, "no resumable interrupt for this run")
    told = {"run_id": run.run_id, "interrupt_id": run.interrupt, "status": "in_progress"}
    run.become("in_progress", "run.resumed", {"interrupt_id": run.interrupt, "command": command})
    if command.get("resume") is not None:
        run.channels["resume"] = json.loads(json.dumps(command["resume"]), parse_int=_double)
    (asked,) = run.work.questions
    run.work.answer({asked: run.channels.get("resume")})
    asyncio.get_running_loop().create_task(perform(run))
    return JSONResponse(told)


async def cancel(request: Request) -> Response:
    run = _run(request, "not found")
    if run.status not in ("queued", "in_progress", "requires_action"):
        raise HTTPException(404, "not found")
    run.work.cancel()
    run.become("cancelled", "run.cancelled", {})
    return JSONResponse(run.as_json())


async def join(request: Request) -> Response:
    """Until the run has ended, through every question."""
    run = _run(request, "run not found")
    async for _event in _events(run):
        pass
    return JSONResponse(run.as_json())


async def stream(request: Request) -> Response:
    run = _run(request, "run not found")

    async def frames() -> AsyncIterator[str]:
        async for event, payload in _events(run):
            yield f"event: {event}\ndata: {json.dumps(payload)}\n\n"

    return StreamingResponse(frames(), media_type="text/event-stream")


async def _events(run: Run) -> AsyncIterator[tuple[str, Any]]:
    """All that happened to the run, then what happens, until it has ended."""
    queue: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()
    run.queues.append(queue)
    for event in [*run.events]:
        queue.put_nowait(event)
    while True:
        event, payload = await queue.get()
        yield event, payload
        if event in OVER:
            return


async def read_assistant(request: Request) -> Response:
    if request.path_params["id"] != ASSISTANT:
        raise HTTPException(404, "not found")
    return JSONResponse({"assistant_id": ASSISTANT, "graph_id": GRAPH, "name": GRAPH, "metadata": {}, "version": 1})


async def info(request: Request) -> Response:
    return JSONResponse({"version": "dev", "git_sha": "none", "uptime_seconds": 1})


ROUTES = [
    Route("/assistants/{id}", read_assistant),
    Route("/threads", create_thread, methods=["POST"]),
    Route("/threads/{id}", read_thread, methods=["GET"]),
    Route("/threads/{id}", delete_thread, methods=["DELETE"]),
    Route("/threads/{id}/state", read_state),
    Route("/threads/{id}/runs", create_run, methods=["POST"]),
    Route("/threads/{id}/runs", list_runs, methods=["GET"]),
    Route("/threads/{id}/runs/{rid}", read_run),
    Route("/threads/{id}/runs/{rid}/resume", resume, methods=["POST"]),
    Route("/threads/{id}/runs/{rid}/cancel", cancel, methods=["POST"]),
    Route("/threads/{id}/runs/{rid}/join", join, methods=["POST"]),
    Route("/threads/{id}/runs/{rid}/stream", stream),
]


async def _refuse(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"message": error.detail}, error.status_code)


app = Starlette(
    routes=[Route("/info", info), Mount("/api/v1", routes=ROUTES)], exception_handlers={HTTPException: _refuse}
)


def runs_of(thread_id: str) -> list[Run]:
    """Oldest first."""
    return [run for run in RUNS.values() if run.thread_id == thread_id]


async def _body(request: Request) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(await request.body() or b"{}")
    return body


def _uuid(request: Request, name: str, wrong: str) -> str:
    try:
        return str(uuid.UUID(request.path_params[name]))
    except ValueError:
        raise HTTPException(400, wrong) from None


def _thread(request: Request, missing: str) -> dict[str, Any]:
    thread = THREADS.get(_uuid(request, "id", "invalid id"))
    if thread is None:
        raise HTTPException(404, missing)
    return thread


def _run(request: Request, missing: str) -> Run:
    run = RUNS.get(_uuid(request, "rid", "invalid rid"))
    if run is None or run.thread_id != _uuid(request, "id", "invalid id"):
        raise HTTPException(404, missing)
    return run


def _double(digits: str) -> int:
    return int(digits) if abs(int(digits)) < 2**53 else int(float(digits))


def _now() -> str:
    return datetime.now(UTC).isoformat()
