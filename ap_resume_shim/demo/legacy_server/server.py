"""An agent server in the style of the Agent Protocol, without the draft's resume routes.

    uvicorn --factory ap_resume_shim.demo:create_app --port 2026

A client creates a thread and starts a run on it. When the agent stops at a question, the client answers in the body of
another run, in the field that `resume_at` names, by default `/input/command/resume`.

    POST /runs/wait {"thread_id": ..., "agent_id": "deploy", "input": {"release": "4.2"}}
    POST /runs/wait {"thread_id": ..., "agent_id": "deploy", "input": {"command": {"resume": "approve"}}}

A null in that field is an answer. With several questions, the field contains {interrupt id: answer}, for all of them or
some. A run without the field and without an input (absent or null) continues past a breakpoint; at a question it stops
again at once. A run with another input starts the agent anew. A breakpoint ignores the field's value.

The server refuses nothing (see `engine`), as legacy servers do. It stores `webhook` and `on_completion` with the run,
and ignores them.
"""

from __future__ import annotations

import contextlib
import inspect
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route

from ap_resume_shim.demo.legacy_server.agents import AGENTS, describe
from ap_resume_shim.demo.legacy_server.service import Service, search
from ap_resume_shim.demo.legacy_server.state import lift
from ap_resume_shim.demo.legacy_server.wire import EventStream, Reply, attend, read

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request

    from ap_resume_shim.demo.legacy_server.state import Json, Run


class Routes:
    """The endpoints."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def table(self) -> list[Route]:
        """Return the routes. Run ids are UUIDs, so `/runs/resume` matches no route."""
        return [
            Route("/threads", self.create_thread, methods=["POST"]),
            Route("/threads/search", self.search_threads, methods=["POST"]),
            Route("/threads/{thread_id}", self.get_thread, methods=["GET"]),
            Route("/threads/{thread_id}", self.delete_thread, methods=["DELETE"]),
            Route("/threads/{thread_id}/history", self.get_history, methods=["GET"]),
            Route("/runs", self.create_run, methods=["POST"]),
            Route("/runs/wait", self.create_run_and_wait, methods=["POST"]),
            Route("/runs/stream", self.create_run_and_stream, methods=["POST"]),
            Route("/runs/search", self.search_runs, methods=["POST"]),
            Route("/runs/{run_id:uuid}", self.get_run, methods=["GET"]),
            Route("/runs/{run_id:uuid}/wait", self.wait_for_run, methods=["GET"]),
            Route("/runs/{run_id:uuid}/stream", self.stream_run, methods=["GET"]),
            Route("/runs/{run_id:uuid}/cancel", self.cancel_run, methods=["POST"]),
            Route("/agents/search", self.search_agents, methods=["POST"]),
            Route("/agents/{agent_id}", self.get_agent, methods=["GET"]),
            Route("/openapi.json", self.get_openapi, methods=["GET"]),
        ]

    async def create_thread(self, request: Request) -> Response:
        """Create a thread."""
        body = await read(request)
        thread_id = body.get("thread_id")
        if thread_id in self._service.threads:
            if body.get("if_exists") != "do_nothing":
                raise HTTPException(409, f"Thread {thread_id} exists already.")
            return Reply(self._service.thread(thread_id).document)
        return Reply(self._service.create_thread(thread_id, body.get("metadata")).document)

    async def search_threads(self, request: Request) -> Response:
        """List threads, newest first."""
        threads = self._service.threads.values()
        return Reply(search(await read(request), (thread.document for thread in threads)))

    async def get_thread(self, request: Request) -> Response:
        """Get a thread, with its pending questions."""
        return Reply(self._service.thread(request.path_params["thread_id"]).document)

    async def delete_thread(self, request: Request) -> Response:
        """Delete a thread, and stop its agents."""
        self._service.delete_thread(request.path_params["thread_id"])
        return Response(status_code=204)

    async def get_history(self, request: Request) -> Response:
        """List the states of a thread, newest first."""
        states = self._service.thread(request.path_params["thread_id"]).history[::-1]
        ids = [state["checkpoint"]["checkpoint_id"] for state in states]
        if (before := request.query_params.get("before")) in ids:
            states = states[ids.index(before) + 1 :]
        limit = request.query_params.get("limit", "10")
        return Reply(states[: int(limit) if limit.isdecimal() else 10])

    async def create_run(self, request: Request) -> Response:
        """Create a run, and respond at once."""
        run = self._service.create_run(await read(request))
        return Reply(run.document, headers=_location(run))

    async def create_run_and_wait(self, request: Request) -> Response:
        """Create a run, and respond when it has ended."""
        return await self._wait(request, self._service.create_run(await read(request)), owner=True)

    async def create_run_and_stream(self, request: Request) -> Response:
        """Create a run, and respond with its events."""
        return EventStream(self._service.create_run(await read(request)), owner=True)

    async def search_runs(self, request: Request) -> Response:
        """List runs, newest first."""
        runs = self._service.runs.values()
        return Reply(search(await read(request), (run.document for run in runs)))

    async def get_run(self, request: Request) -> Response:
        """Get a run."""
        return Reply(self._service.run(str(request.path_params["run_id"])).document)

    async def wait_for_run(self, request: Request) -> Response:
        """Wait until a run has ended."""
        return await self._wait(request, self._service.run(str(request.path_params["run_id"])), owner=False)

    async def stream_run(self, request: Request) -> Response:
        """Join a run's events."""
        run = self._service.run(str(request.path_params["run_id"]))
        return EventStream(run, len(run.events))

    async def cancel_run(self, request: Request) -> Response:
        """Cancel a run; has no effect on a run that has ended."""
        run = self._service.run(str(request.path_params["run_id"]))
        run.cancel()
        if request.query_params.get("wait") == "true":
            await run.ended()
        return Response(status_code=204)

    async def search_agents(self, request: Request) -> Response:
        """List agents."""
        return Reply(search(await read(request), [describe(name) for name in reversed(AGENTS)]))

    async def get_agent(self, request: Request) -> Response:
        """Get an agent."""
        agent_id = request.path_params["agent_id"]
        if agent_id not in AGENTS:
            raise HTTPException(404, f"Agent {agent_id} does not exist.")
        return Reply(describe(agent_id))

    async def get_openapi(self, _request: Request) -> Response:
        """Describe the routes."""
        paths: dict[str, Json] = {}
        for route in self.table():
            for method in (route.methods or set()) - {"HEAD"}:
                paths.setdefault(route.path_format, {})[method.lower()] = {
                    "operationId": route.name,
                    "summary": inspect.getdoc(route.endpoint),
                    "parameters": [
                        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
                        for name in route.param_convertors
                    ],
                    "responses": {"default": {"description": "See the Agent Protocol."}},
                }
        info = {"title": "Legacy agent server", "version": "1.0.0"}
        return Reply({"openapi": "3.1.0", "info": info, "paths": paths})

    async def _wait(self, request: Request, run: Run, *, owner: bool) -> Response:
        await attend(run, run.ended(), request.receive, owner=owner)
        thread = self._service.threads.get(run.thread_id)
        values: Json = dict(thread.values) if thread else {}
        if thread and thread.interrupts:
            values["__interrupt__"] = thread.interrupts
        return Reply({"run": run.document, **lift(values)}, headers=_location(run))


def _location(run: Run) -> dict[str, str]:
    return {"Content-Location": f"/runs/{run.run_id}"}


async def _refusal(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return Reply({"detail": error.detail}, error.status_code, error.headers)


def create_app(resume_at: str = "/input/command/resume") -> Starlette:
    """Return a server with its own threads. `resume_at` is a JSON pointer to the answer in the create-run body."""
    service = Service(resume_at)

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        yield
        service.close()

    return Starlette(routes=Routes(service).table(), lifespan=lifespan, exception_handlers={HTTPException: _refusal})
