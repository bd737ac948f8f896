"""LangGraph's API servers: the current one, older ones, and the JavaScript one.

They are told apart by what they answer: the current server's thread has `state_updated_at`, older ones have `error`
without it, and JavaScript's has neither.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Literal

from ap_resume_shim.backends import langgraph_wire as wire
from ap_resume_shim.core.dialect import Ended, Found, Lookup, Started, Verdict
from ap_resume_shim.core.errors import InvalidRequest, ResumeError
from ap_resume_shim.core.exchange import Ask, Reframer, Request, Response, Step
from ap_resume_shim.core.protocol import Resume
from ap_resume_shim.core.reading import read_lookup, read_refusal
from ap_resume_shim.core.sse import Relay

Flavour = Literal["current", "old", "js"]

_INTEGERS: dict[Flavour, range] = {
    "current": range(-(2**63), 2**64),
    "old": range(-(2**63), 2**64),
    "js": range(-(2**53) + 1, 2**53),
}


class LangGraph:
    """`POST /threads/{thread_id}/runs` with `command.resume`, keyed by interrupt id."""

    name = "langgraph"
    thread_is = "The thread's own id: a UUID of `/threads`."
    unsupported: frozenset[str] = frozenset()
    reserved = wire.RESERVED
    carries_both = False
    partial = True
    forwards_extra = True

    def thread_key(self, thread_id: str) -> str:
        """The servers take upper case and missing dashes for the same thread, so they are one key."""
        if not wire.is_uuid(thread_id):
            raise InvalidRequest("`thread_id` is not a UUID, which LangGraph's threads are named by.")
        return thread_id.replace("-", "").lower()

    def lookup(self, resume: Resume, *, agent: bool = True) -> Lookup:
        """One request where the thread tells it all; state and last run, side by side, where it does not."""
        wanted = resume.body.agent_id if agent else None
        first = [Request.get(wire.thread_path(resume))]
        if wanted is not None:
            first.append(wire.assistant_lookup(wanted))
        answers = yield Ask(tuple(first))
        thread = read_lookup(answers[0])
        status, meta = thread.get("status"), thread.get("metadata") or {}
        flavour = _flavour(thread)
        interrupts = tuple(i for asked in (thread.get("interrupts") or {}).values() for i in wire.interrupts_of(asked))
        agent_id = wanted if wanted is not None else meta.get("assistant_id")
        graph = None if wanted is None else wire.read_assistant(answers[1], wanted).get("graph_id")
        strange_graph = graph is not None and graph != meta.get("graph_id")

        more: dict[str, Request] = {}
        if status != "busy":
            settled = status == "interrupted" or (status == "idle" and not agent)
            if strange_graph or not (interrupts or settled) or (status == "interrupted" and not interrupts):
                more["state"] = Request.get(wire.thread_path(resume) + "/state")
            # Metadata belongs to the client there; the last run does not.
            if agent and wanted is None and flavour != "current":
                more["runs"] = Request.get(wire.thread_path(resume) + "/runs?limit=1000")
        told = dict(zip(more, (yield Ask(tuple(more.values()))) if more else (), strict=True))

        answered: tuple[Any, ...] = ()
        stopped, error = False, thread.get("error")
        if "state" in told:
            state = read_lookup(told["state"])
            pending, answered = wire.read_tasks(state)
            interrupts = interrupts or pending
            stopped = status == "interrupted" and bool(state.get("next"))
            error = error or wire.task_error(state)
            if strange_graph:
                wire.same_graph_or_refuse(str(wanted), graph, (state.get("metadata") or {}).get("graph_id"))
        if "runs" in told:
            last = wire.newest(read_lookup(told["runs"]))
            agent_id = last["assistant_id"] if last else agent_id
        return Found(
            status=status,
            interrupts=interrupts if status != "busy" else (),
            answered=answered,
            breakpoint=stopped and not interrupts and not answered,
            agent_id=agent_id,
            values=thread.get("values"),
            error=error,
            updated_at=thread.get("updated_at"),
            memory=flavour,
        )

    def check(self, resume: Resume, found: Found, verdict: Verdict) -> None:
        """Big integers become doubles in the servers' JSON readers."""
        server = "LangGraph's JavaScript server" if found.memory == "js" else "LangGraph's server"
        wire.check_values(verdict, integers=_INTEGERS[found.memory], server=server)

    def prepare(self, resume: Resume, found: Found, verdict: Verdict) -> Generator[Step, Any, tuple[Found, Verdict]]:
        """Nothing to do: the servers resume a thread whatever its status says."""
        yield from ()
        return found, verdict

    def resume(self, resume: Resume, found: Found, verdict: Verdict) -> Request:
        """`reject` makes the server itself refuse a second run: atomic, whoever else talks to it."""
        answer = wire.answer(verdict, go_on={"input": None})
        return wire.create_request(resume, found, {**answer, "multitask_strategy": "reject"})

    def refusal(self, response: Response) -> ResumeError:
        """JavaScript's server says 422 for busy; the others 409."""
        return read_refusal(response, wire.RULES)

    def started(self, response: Response, body: bytes, resume: Resume, found: Found) -> Started | None:
        """All three forms name the run in `Content-Location`."""
        return wire.read_started(response, body, resume, found)

    def cancel(self, resume: Resume, started: Started) -> Request | None:
        """JavaScript's server ignores `on_disconnect` on a wait, so that the run is cancelled by name."""
        return Request.post(wire.run_path(resume, started.run_id) + "/cancel")

    def location(self, resume: Resume, started: Started) -> str:
        """`/threads/{thread_id}/runs/{run_id}`."""
        return wire.run_path(resume, started.run_id)

    def run(self, resume: Resume, started: Started) -> Request:
        """The run itself; its `join` would answer with the thread's values, not the run's."""
        return Request.get(wire.run_path(resume, started.run_id))

    def has_ended(self, response: Response) -> bool:
        """Neither pending nor running."""
        return wire.run_has_ended(response)

    def ended(self, body: bytes) -> Ended:
        """Older servers leave the values out when the run is interrupted again."""
        return wire.read_ended(body)

    def delete(self, resume: Resume) -> Request | None:
        """`on_completion` is ignored by the servers."""
        return Request("DELETE", wire.thread_path(resume))

    def reframer(self) -> Reframer:
        """Their events are the Agent Protocol's."""
        return Relay()


def _flavour(thread: dict[str, Any]) -> Flavour:
    if "state_updated_at" in thread:
        return "current"
    return "old" if "error" in thread else "js"
