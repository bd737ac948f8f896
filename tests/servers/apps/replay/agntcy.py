"""AGNTCY's workflow server (agntcy/workflow-srv 0.3.0) as it was recorded: its answers, and its faults.

Not the server itself, which is on no package index. `agntcy.json` beside this file has the 47 exchanges that were
recorded, and `tests/servers/test_replay.py` holds them against this app. What no recording shows is from the source:
three attempts at a run that fails, the stream of a failed run that never ends, objects only as the answer.

What is wrong with it, as recorded: the routes below `/threads` neither resume nor stream (500 "Not implemented"), start
no run in the background (500), and answer 500 where a run that they wait for asks, though the run is there and waits.
A thread's `status` is `idle` for ever. Only the first of several questions shows, and a stream never shows any.
"""

from __future__ import annotations

import asyncio
import json
import pprint
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from . import agent
from .agent import Refused, Work, scenario

REVIEWER = "3f1e2549-5799-4321-91ae-2a4881d55526"
"""The agent of the recordings: drafts, asks for approval, and asks again if it is told to."""
ACTOR = "6a1f4d0e-93b5-4a44-8d7e-0c5b1e2f7a90"
"""The agent of the suite's scenarios."""
APPROVAL = {"type": "object", "properties": {"approved": {"type": "boolean"}}}
SCHEMAS: dict[str, dict[str, Any]] = {REVIEWER: {**APPROVAL, "required": ["approved"]}, ACTOR: APPROVAL}
"""What each agent's manifest says of the answer to its interrupt `approval`."""
ATTEMPTS = 3


@dataclass
class Run:
    """A run, as it is stored: those of threads and those without are in one table."""

    agent_id: str
    thread_id: str
    body: dict[str, Any]
    stateful: bool
    run_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    status: str = "pending"
    created_at: str = field(default_factory=lambda: _now())
    updated_at: str = field(default_factory=lambda: _now())
    output: Any = None
    """The last node's update (not the whole state), the question, or the error's text."""
    started: bool = False
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    queues: list[asyncio.Queue[Any]] = field(default_factory=list)
    work: Work = field(init=False)

    def as_json(self, *, stateful: bool) -> dict[str, Any]:
        """As the routes below `/threads` show it, or the others."""
        config = self.body.get("config")
        if config is not None:
            configurable = dict(config.get("configurable") or {})
            if self.started:
                configurable.setdefault("thread_id", self.thread_id)
            config = {"tags": None, "recursion_limit": None, **config, "configurable": configurable}
        kind = {"stream_subgraphs": False, "if_not_exists": "reject"} if stateful else {"on_completion": "delete"}
        creation = {
            "agent_id": self.agent_id,
            "input": self.body.get("input"),
            "metadata": self.body.get("metadata"),
            "config": config,
            "webhook": None,
            "stream_mode": None,
            "on_disconnect": "cancel",
            "multitask_strategy": "reject",
            "after_seconds": None,
        }
        return {
            "run_id": self.run_id,
            "thread_id": self.thread_id,
            "agent_id": self.agent_id,
            "created_at": self.created_at,
            "updated_at": self.updated_at,
            "status": self.status,
            "creation": {**creation, **kind},
        }

    def set_status(self, status: str) -> None:
        """And wake who waits for it."""
        self.status, self.updated_at = status, _now()
        if status != "pending":
            self.changed.set()

    def publish(self, message: Any) -> None:
        """To everyone who has joined its stream."""
        for queue in self.queues:
            queue.put_nowait(message)


RUNS: dict[str, Run] = {}
THREADS: dict[str, dict[str, Any]] = {}
DONE = object()


def start(agent_id: str, thread_id: str, body: dict[str, Any], *, stateful: bool) -> Run:
    """Put a run into the queue."""
    run = Run(agent_id, thread_id, body, stateful)
    RUNS[run.run_id] = run
    given = body.get("input") or {}
    name, ref, secs = (
        given.get("scenario", ""),
        given.get("ref", ""),
        float(given.get("secs") or given.get("slow") or 0),
    )
    script = scenario(name, secs) if agent_id == ACTOR else reviewer(secs, twice=bool(given.get("twice")))

    def tell(node: str, wrote: Any) -> None:
        run.output = wrote
        run.publish({"type": "values", "run_id": run.run_id, "status": "pending", "values": wrote})

    run.work = Work(script, ref, tell)
    run.work.values = dict(given)
    asyncio.get_running_loop().create_task(perform(run))
    return run


def reviewer(secs: float, *, twice: bool) -> Callable[[Work], Awaitable[None]]:
    """The agent of the recordings."""

    async def script(work: Work) -> None:
        await asyncio.sleep(secs)
        work.wrote("drafter", draft=f"draft about {work.values['topic']}")
        (approval,) = await work.ask({"question": "approve?", "draft": work.values["draft"]})
        await asyncio.sleep(secs)
        work.wrote("review", approval=approval)
        second = (await work.ask({"question": "sure?", "draft": work.values["draft"]}))[0] if twice else None
        work.wrote("review2", second=second)

    return script


async def perform(run: Run, answer: tuple[Any] | None = None) -> None:
    """A worker takes the run from the queue."""
    await asyncio.sleep(0)
    run.started = True
    error = None
    if answer is not None:
        try:
            agent.resume(run.work, answer[0])
        except Refused as refused:
            error = str(refused)
    if error is None:
        match await run.work.stop():
            case "asking":
                run.output = next(iter(run.work.questions.values()))  # the first, however many there are
                run.set_status("interrupted")
                return run.publish(DONE)
            case "ended":
                run.set_status("success")
                return run.publish(DONE)
        error = run.work.error
    for _attempt in range(ATTEMPTS):  # the same node, with the same answer; it fails again
        run.set_status("error")
        run.output = error
        run.publish({"type": "values", "run_id": run.run_id, "status": "pending", "values": error})
        await asyncio.sleep(0)
        run.set_status("pending")
    return run.set_status("error")


async def ended(run: Run) -> None:
    """Wait until it asks, or is over."""
    while run.status == "pending":
        run.changed.clear()
        await run.changed.wait()


async def create(request: Request) -> Response:
    body = await _creation(request)
    return JSONResponse(start(body["agent_id"], str(uuid.uuid4()), body, stateful=False).as_json(stateful=False))


async def create_and_wait(request: Request) -> Response:
    body = await _creation(request)
    run = start(body["agent_id"], str(uuid.uuid4()), body, stateful=False)
    await ended(run)
    return waited(run)


async def create_and_stream(request: Request) -> Response:
    body = await _creation(request)
    if body.get("stream_mode") is not None:  # a fault of the generated models: no stream_mode is taken
        wrong = {
            "type": "model_attributes_type",
            "loc": ["body", "stream_mode"],
            "msg": "Input should be a valid dictionary or object to extract fields from",
            "input": body["stream_mode"],
        }
        raise HTTPException(422, [wrong, wrong])
    return stream_of(start(body["agent_id"], str(uuid.uuid4()), body, stateful=False))


async def read(request: Request) -> Response:
    return JSONResponse(_run(request).as_json(stateful=False))


async def resume(request: Request) -> Response:
    answer = _json(await request.body())
    if not isinstance(answer, dict | None):
        detail = {"type": "dict_type", "loc": ["body"], "msg": "Input should be a valid dictionary", "input": answer}
        raise HTTPException(422, [detail])
    run = RUNS.get(request.path_params["run_id"])
    if run is None:
        raise HTTPException(400, "Run not found")
    if run.status != "interrupted":
        raise HTTPException(400, "Run is not in interrupted state")
    if wrong := violation(answer, SCHEMAS[run.agent_id]):
        raise HTTPException(422, f"Resume payload not valid: {wrong}")
    run.set_status("pending")
    asyncio.get_running_loop().create_task(perform(run, (answer,)))
    return JSONResponse(run.as_json(stateful=False))


def violation(answer: Any, schema: dict[str, Any]) -> str | None:
    """What jsonschema says of an answer that is not as the manifest wants it."""

    def tells(what: str, word: str, part: Any, instance: Any, where: str = "") -> str:
        shown = pprint.pformat(part, width=72, sort_dicts=False).replace("\n", "\n    ")
        return f"{what}\n\nFailed validating '{word}' in schema{where}:\n    {shown}\n\nOn instance:\n    {instance!r}"

    if not isinstance(answer, dict):
        return tells(f"{answer!r} is not of type 'object'", "type", schema, answer)
    for name in schema.get("required", ()):
        if name not in answer:
            return tells(f"'{name}' is a required property", "required", schema, answer)
    for name, part in schema["properties"].items():
        if name in answer and not isinstance(answer[name], bool):
            value = answer[name]
            return tells(f"{value!r} is not of type 'boolean'", "type", part, value, f"['properties'][{name!r}]")
    return None


async def search(request: Request) -> Response:
    body = _json(await request.body()) or {}
    wanted = {key: body[key] for key in ("agent_id", "status") if body.get(key)}  # `thread_id` is ignored
    found = [run for run in RUNS.values() if all(getattr(run, key) == value for key, value in wanted.items())]
    return JSONResponse([run.as_json(stateful=False) for run in found][: body.get("limit", 10)])


async def wait(request: Request) -> Response:
    run = RUNS.get(request.path_params["run_id"])
    if run is None:
        return Response(status_code=404)
    await ended(run)
    return waited(run)


def waited(run: Run) -> Response:
    """The answer to a wait outside `/threads`."""
    output: dict[str, Any]
    if run.status == "success":
        output = {"type": "result", "values": run.output}
    elif run.status == "interrupted":
        output = {"type": "interrupt", "interrupt": {"approval": run.output}}
    else:
        output = {"type": "error", "run_id": run.run_id, "errcode": 1, "description": run.output}
    return JSONResponse({"run": run.as_json(stateful=False), "output": output})


async def join(request: Request) -> Response:
    return stream_of(_run(request))


def stream_of(run: Run) -> Response:
    """One event for each node from now on, with what that node wrote; it never tells of a question."""
    queue: asyncio.Queue[Any] = asyncio.Queue()
    run.queues.append(queue)
    over = run.status != "pending"

    async def events() -> AsyncIterator[str]:
        number = 0
        while not over:
            try:
                message = await asyncio.wait_for(queue.get(), timeout=10)
            except TimeoutError:
                yield ":"  # without a newline: it sticks to the next event
                continue
            if message is DONE:
                return
            number += 1
            yield f"id: {number}\nevent: agent_event\ndata: {json.dumps(message)}\n\n"

    return StreamingResponse(events(), media_type="text/event-stream")


async def create_thread(request: Request) -> Response:
    body = _json(await request.body()) or {}
    if "metadata" not in body:
        return _broken()
    now = _now()
    thread = {
        "thread_id": body.get("thread_id") or str(uuid.uuid4()),
        "created_at": now,
        "updated_at": now,
        "metadata": body["metadata"],
        "status": "idle",
        "values": None,
        "messages": None,
    }
    THREADS[thread["thread_id"]] = thread
    return JSONResponse(thread)


async def read_thread(request: Request) -> Response:
    thread = _thread(request)
    runs = runs_of(thread["thread_id"])
    return JSONResponse({**thread, "values": runs[-1].work.values if runs else None})


async def search_threads(request: Request) -> Response:
    body = _json(await request.body()) or {}
    found = [thread for thread in THREADS.values() if body.get("status") in (None, thread["status"])]
    return JSONResponse(found[: body.get("limit", 10)])


async def list_thread_runs(request: Request) -> Response:
    return JSONResponse([run.as_json(stateful=True) for run in runs_of(_thread(request)["thread_id"])][:10])


async def create_thread_run(request: Request) -> Response:
    return _broken()  # a coroutine that nobody awaits; no run comes of it


async def create_thread_run_and_wait(request: Request) -> Response:
    body = await _creation(request)
    thread_id = request.path_params["thread_id"]
    if thread_id not in THREADS:
        raise HTTPException(404, f"Thread with ID {thread_id} does not exist.")
    if any(run.status == "pending" for run in runs_of(thread_id)):
        raise HTTPException(409, f"Thread with ID {thread_id} has pending runs.")
    run = start(body["agent_id"], thread_id, body, stateful=True)
    await ended(run)
    return waited_on_thread(run)


async def read_thread_run(request: Request) -> Response:
    return JSONResponse(_thread_run(request).as_json(stateful=True))


async def wait_for_thread_run(request: Request) -> Response:
    run = _thread_run(request)
    await ended(run)
    return waited_on_thread(run)


def waited_on_thread(run: Run) -> Response:
    """The answer to a wait below `/threads`: a question makes no answer that its model takes."""
    if run.status == "interrupted":
        return _broken()
    told: dict[str, Any] = json.loads(bytes(waited(run).body))
    return JSONResponse({**told, "run": run.as_json(stateful=True)})


async def not_implemented(request: Request) -> Response:
    raise HTTPException(500, "Not implemented")


async def read_agent(request: Request) -> Response:
    agent_id = request.path_params["agent_id"]
    if agent_id not in SCHEMAS:
        raise HTTPException(404, f"Agent {agent_id} not found")
    return JSONResponse({"agent_id": agent_id, "metadata": {"ref": {"name": "org.test.agent", "version": "0.0.1"}}})


async def openapi(request: Request) -> Response:
    paths: dict[str, dict[str, Any]] = {}
    for route in ROUTES:
        for method in (route.methods or set()) - {"HEAD"}:
            paths.setdefault(route.path, {})[method.lower()] = {}
    return JSONResponse(
        {"openapi": "3.1.0", "info": {"title": "Agent Workflow Server", "version": "0.1"}, "paths": paths}
    )


ROUTES = [
    Route("/agents/{agent_id}", read_agent),
    Route("/runs", create, methods=["POST"]),
    Route("/runs/wait", create_and_wait, methods=["POST"]),
    Route("/runs/stream", create_and_stream, methods=["POST"]),
    Route("/runs/search", search, methods=["POST"]),
    Route("/runs/{run_id}", read, methods=["GET"]),
    Route("/runs/{run_id}", resume, methods=["POST"]),
    Route("/runs/{run_id}", not_implemented, methods=["DELETE"]),
    Route("/runs/{run_id}/cancel", not_implemented, methods=["POST"]),
    Route("/runs/{run_id}/wait", wait),
    Route("/runs/{run_id}/stream", join),
    Route("/threads", create_thread, methods=["POST"]),
    Route("/threads/search", search_threads, methods=["POST"]),
    Route("/threads/{thread_id}", read_thread),
    Route("/threads/{thread_id}/runs", list_thread_runs, methods=["GET"]),
    Route("/threads/{thread_id}/runs", create_thread_run, methods=["POST"]),
    Route("/threads/{thread_id}/runs/wait", create_thread_run_and_wait, methods=["POST"]),
    Route("/threads/{thread_id}/runs/stream", not_implemented, methods=["POST"]),
    Route("/threads/{thread_id}/runs/{run_id}", read_thread_run, methods=["GET"]),
    Route("/threads/{thread_id}/runs/{run_id}", not_implemented, methods=["POST"]),
    Route("/threads/{thread_id}/runs/{run_id}/cancel", not_implemented, methods=["POST"]),
    Route("/threads/{thread_id}/runs/{run_id}/wait", wait_for_thread_run),
    Route("/threads/{thread_id}/runs/{run_id}/stream", not_implemented),
]


async def _refuse(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"detail": error.detail}, error.status_code)


app = Starlette(routes=[*ROUTES, Route("/openapi.json", openapi)], exception_handlers={HTTPException: _refuse})


async def _creation(request: Request) -> dict[str, Any]:
    body: dict[str, Any] = _json(await request.body()) or {}
    body.setdefault("agent_id", REVIEWER)
    if body["agent_id"] not in SCHEMAS:
        raise HTTPException(404, f"Agent {body['agent_id']} not found")
    return body


def runs_of(thread_id: str) -> list[Run]:
    """Oldest first."""
    return [run for run in RUNS.values() if run.stateful and run.thread_id == thread_id]


def _run(request: Request) -> Run:
    run_id = request.path_params["run_id"]
    if run_id not in RUNS:
        raise HTTPException(404, f"Run with ID {run_id} not found")
    return RUNS[run_id]


def _thread(request: Request) -> dict[str, Any]:
    thread = THREADS.get(request.path_params["thread_id"])
    if thread is None:
        raise HTTPException(404, "Thread not found")
    return thread


def _thread_run(request: Request) -> Run:
    thread, run = _thread(request), _run(request)
    if run.thread_id != thread["thread_id"]:
        raise HTTPException(422, f"Run with ID {run.run_id} does not belong to thread {thread['thread_id']}.")
    return run


def _broken() -> Response:
    return PlainTextResponse("Internal Server Error", 500)


def _json(body: bytes) -> Any:
    return json.loads(body) if body else None


def _now() -> str:
    return datetime.now().isoformat()  # without a zone, as recorded
