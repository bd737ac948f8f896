"""Four servers in the manner of hobby servers that were read: each has a resume of its own below the run.

They have their routes and bodies from servers found in public repositories (facts of `/threads/{t}/runs/{r}/resume`):
one takes `{"values": answer}` and answers with the stream of a new run; one takes `{"input": answer}` and answers with
the new run when it has ended; one takes `{"resume": answer}`, one the answer as the whole body, objects only, and these
two answer at once. No original is replayed in full: some never say that a thread waits, or restart the agent, and
nothing in front can mend that. These keep their states right. Which of the four a thread belongs to is said when it is
made: `{"metadata": {"server": "values"}}`.

The first two refuse nothing: an answer to a run that waits no longer is heard all the same, as in the originals.
All of them hand the answer to LangGraph (see `agent`).
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
from starlette.routing import Route

from tests.servers.apps.families.witness import note

from . import agent
from .agent import Refused, Work, scenario

ASSISTANT = "scenarios"


@dataclass
class Run:
    thread_id: str
    work: Work
    run_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    status: str = "running"
    created_at: str = field(default_factory=lambda: _now())
    interrupt: Any = None

    def as_json(self) -> dict[str, Any]:
        told = {"run_id": self.run_id, "thread_id": self.thread_id, "assistant_id": ASSISTANT, "status": self.status}
        asks = {"interrupt": self.interrupt} if self.status == "interrupted" else {}
        return {**told, "created_at": self.created_at, "updated_at": _now(), **asks}


THREADS: dict[str, dict[str, Any]] = {}
RUNS: dict[str, Run] = {}


async def create_thread(request: Request) -> Response:
    body = await _body(request)
    thread_id, metadata = str(uuid.uuid4()), body.get("metadata") or {}
    THREADS[thread_id] = {"thread_id": thread_id, "status": "idle", "metadata": metadata, "values": {}}
    return JSONResponse(THREADS[thread_id], 201)


async def read_thread(request: Request) -> Response:
    return JSONResponse(_thread(request))


async def delete_thread(request: Request) -> Response:
    del THREADS[_thread(request)["thread_id"]]
    return JSONResponse({"status": "deleted"})


async def create_run(request: Request) -> Response:
    thread, body = _thread(request), await _body(request)
    if body.get("assistant_id") != ASSISTANT:
        raise HTTPException(404, f"Assistant {body.get('assistant_id')} not found")
    given = body.get("input") or {}
    work = Work(scenario(given.get("scenario", ""), float(given.get("secs") or 0)), given.get("ref", ""))
    run = Run(thread["thread_id"], work)
    RUNS[run.run_id] = run
    thread["status"] = "busy"
    _later(perform(run))
    return JSONResponse(run.as_json())


async def list_runs(request: Request) -> Response:
    """Oldest first where the answer is a stream, newest first elsewhere, as in the originals."""
    thread = _thread(request)
    runs = [run.as_json() for run in RUNS.values() if run.thread_id == thread["thread_id"]]
    return JSONResponse(runs if thread["metadata"].get("server") == "values" else runs[::-1])


async def read_run(request: Request) -> Response:
    return JSONResponse(_run(request).as_json())


async def resume(request: Request) -> Response:
    thread, run, body = _thread(request), _run(request), await _body(request)
    match thread["metadata"].get("server"):
        case "values":
            return await stream_of(again(run, _member(body, "values")), run)
        case "input":
            new = again(run, _member(body, "input"))
            await perform(new)
            if new.status == "error":
                raise HTTPException(500, new.work.error)
            return JSONResponse(new.as_json())
        case "resume":
            body = _member(body, "resume")
        case _ if not isinstance(body, dict):
            wrong = {"type": "dict_type", "loc": ["body"], "msg": "Input should be a valid dictionary", "input": body}
            raise HTTPException(422, [wrong])
    if run.status != "interrupted":
        raise HTTPException(400, f"Run {run.run_id} is not interrupted (status: {run.status})")
    run.status, thread["status"] = "running", "busy"
    _later(perform(hand(run, body)))
    return JSONResponse({"status": "resumed", "thread_id": run.thread_id, "run_id": run.run_id})


def again(run: Run, answer: Any) -> Run:
    """A new run goes on with the work of the old one, which is `interrupted` for ever."""
    new = Run(run.thread_id, run.work)
    RUNS[new.run_id] = new
    return hand(new, answer)


def hand(run: Run, answer: Any) -> Run:
    """Give the answer to LangGraph, which may not take it: then the run fails."""
    if run.work.state != "asking":
        note(run.work.ref, "got", answer)  # the agent is run again with it
    else:
        try:
            agent.resume(run.work, answer, several=False)
        except Refused as error:
            run.status = "error"
            run.work.error = str(error)
    return run


async def perform(run: Run) -> None:
    """Wait until it asks, ends or fails, and say so."""
    thread = THREADS[run.thread_id]
    state = "failed" if run.status == "error" else await run.work.stop()
    thread["values"] = dict(run.work.values)
    if state == "asking":
        run.interrupt = next(iter(run.work.questions.values()))
    run.status = {"asking": "interrupted", "ended": "success", "failed": "error"}[state]
    thread["status"] = {"asking": "interrupted", "ended": "idle", "failed": "error"}[state]


async def stream_of(new: Run, old: Run) -> Response:
    async def events() -> AsyncIterator[str]:
        yield _event("metadata", {"run_id": new.run_id, "resumed_from": old.run_id})
        try:
            await perform(new)
        except asyncio.CancelledError:  # the client has left, and the run with it
            new.work.cancel()
            new.status = THREADS[new.thread_id]["status"] = "error"
            raise
        if new.status == "error":
            yield _event("error", {"message": new.work.error})
            return
        if new.status == "interrupted":
            yield _event("interrupt", {"run_id": new.run_id, "value": new.interrupt})
        yield _event("values", new.work.values)
        yield _event("end", {})

    return StreamingResponse(events(), media_type="text/event-stream")


async def _refuse(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"detail": error.detail}, error.status_code)


ROUTES = [
    Route("/threads", create_thread, methods=["POST"]),
    Route("/threads/{thread_id}", read_thread, methods=["GET"]),
    Route("/threads/{thread_id}", delete_thread, methods=["DELETE"]),
    Route("/threads/{thread_id}/runs", create_run, methods=["POST"]),
    Route("/threads/{thread_id}/runs", list_runs, methods=["GET"]),
    Route("/threads/{thread_id}/runs/{run_id}", read_run),
    Route("/threads/{thread_id}/runs/{run_id}/resume", resume, methods=["POST"]),
]
app = Starlette(routes=ROUTES, exception_handlers={HTTPException: _refuse})

_TASKS: set[asyncio.Task[None]] = set()


def _later(coroutine: Any) -> None:
    task = asyncio.get_running_loop().create_task(coroutine)
    _TASKS.add(task)
    task.add_done_callback(_TASKS.discard)


def _event(name: str, data: Any) -> str:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n"


async def _body(request: Request) -> Any:
    return json.loads(await request.body() or b"{}")


def _member(body: Any, name: str) -> Any:
    if not isinstance(body, dict) or name not in body:
        raise HTTPException(422, [{"type": "missing", "loc": ["body", name], "msg": "Field required", "input": body}])
    return body[name]


def _thread(request: Request) -> dict[str, Any]:
    thread = THREADS.get(request.path_params["thread_id"])
    if thread is None:
        raise HTTPException(404, f"Thread {request.path_params['thread_id']!r} not found")
    return thread


def _run(request: Request) -> Run:
    run = RUNS.get(request.path_params["run_id"])
    if run is None or run.thread_id != request.path_params["thread_id"]:
        raise HTTPException(404, f"Run {request.path_params['run_id']} not found")
    return run


def _now() -> str:
    return datetime.now(UTC).isoformat()
