"""All threads and runs, and the meaning of a create-run request."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

from starlette.exceptions import HTTPException

from ap_resume_shim.demo.legacy_server import engine
from ap_resume_shim.demo.legacy_server.agents import AGENTS
from ap_resume_shim.demo.legacy_server.state import Json, Run, Thread

if TYPE_CHECKING:
    from collections.abc import Iterable


class Service:
    """The server's state. `resume_at` is a JSON pointer into the create-run body."""

    def __init__(self, resume_at: str) -> None:
        self.threads: dict[str, Thread] = {}
        self.runs: dict[str, Run] = {}
        self._resume_at = [part.replace("~1", "/").replace("~0", "~") for part in resume_at.split("/")[1:]]

    def thread(self, thread_id: str) -> Thread:
        """Return a thread. Raises an error if it does not exist."""
        if thread_id not in self.threads:
            raise HTTPException(404, f"Thread {thread_id} does not exist.")
        return self.threads[thread_id]

    def run(self, run_id: str) -> Run:
        """Return a run. Raises an error if it does not exist."""
        if run_id not in self.runs:
            raise HTTPException(404, f"Run {run_id} does not exist.")
        return self.runs[run_id]

    def create_thread(self, thread_id: str | None, metadata: Json | None) -> Thread:
        """Create a thread."""
        thread = Thread(thread_id or str(uuid4()), metadata or {})
        self.threads[thread.thread_id] = thread
        return thread

    def delete_thread(self, thread_id: str) -> None:
        """Delete a thread and its runs, and stop its agents."""
        thread = self.thread(thread_id)
        thread.close()
        del self.threads[thread_id]
        for run in thread.runs:
            del self.runs[run.run_id]

    def create_run(self, body: Json) -> Run:
        """Start an agent, or advance the waiting one, depending on the body."""
        thread = self._thread_of(body)
        waiting = thread.waiting
        last = thread.runs[-1].agent_id if thread.runs else next(iter(AGENTS))
        agent_id = body.get("agent_id") or last
        if agent_id not in AGENTS:
            raise HTTPException(404, f"Agent {agent_id} does not exist.")
        rest, answer = split(body, self._resume_at)
        if self._resume_at == ["input"] and not waiting:
            rest, answer = body, None
        run = Run(thread.thread_id, agent_id, body, rest.get("config") or {})
        self.runs[run.run_id] = run
        goes_on = answer or (rest.get("input") is None and not rest.get("messages"))
        if waiting and waiting.run.agent_id == agent_id and goes_on:
            engine.resume(thread, waiting, run, answer)
        else:
            engine.start(thread, run, AGENTS[agent_id], changes(thread, rest))
        return run

    def close(self) -> None:
        """Stop all agents."""
        for thread in self.threads.values():
            thread.close()

    def _thread_of(self, body: Json) -> Thread:
        thread_id = body.get("thread_id")
        if thread_id is None or (body.get("if_not_exists") == "create" and thread_id not in self.threads):
            return self.create_thread(thread_id, None)
        return self.thread(thread_id)


def split(body: Json, path: list[str]) -> tuple[Json, engine.Answer | None]:
    """Return the body without its resume field, and without objects that are empty then; and the answer."""
    key, *deeper = path
    if key not in body:
        return body, None
    rest = {name: value for name, value in body.items() if name != key}
    if not deeper:
        return rest, engine.Answer(body[key])
    if not isinstance(body[key], dict):
        return body, None
    inner, answer = split(body[key], deeper)
    if answer is None:
        return body, None
    return ({**body, key: inner} if inner else rest), answer


def changes(thread: Thread, body: Json) -> Json:
    """Return the values of a new input; its messages are appended to the thread's."""
    given = body.get("input")
    new = given if isinstance(given, dict) else {} if given is None else {"input": given}
    if body.get("messages"):
        new = {**new, "messages": [*thread.values.get("messages", []), *body["messages"]]}
    return new


def search(body: Json, documents: Iterable[Json]) -> list[Json]:
    """Return the documents, newest first, that equal the body in every field that both have."""
    found = [document for document in documents if _agrees(body, document)][::-1]
    offset = body.get("offset") or 0
    return found[offset : offset + (body.get("limit") or 10)]


def _agrees(wanted: Json, document: Json) -> bool:
    for key, value in wanted.items():
        if key in ("limit", "offset") or value is None:
            continue
        has = document.get(key)
        if isinstance(value, dict) and isinstance(has, dict):
            if any(name not in has or has[name] != item for name, item in value.items()):
                return False
        elif has != value:
            return False
    return True
