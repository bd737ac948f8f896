"""LangGraph's API servers: the current one, older ones, and the JavaScript one.

They are told apart by what they answer: the current server's thread has `state_updated_at`, older ones have `error`
without it, and JavaScript's has neither.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Literal, get_args

from ap_resume_shim.backends import langgraph_wire as wire
from ap_resume_shim.core.dialect import Dialect, Found, Lookup, Marks, Started, ThreadStatus, Verdict
from ap_resume_shim.core.errors import InvalidRequest, ResumeError, UpstreamUnrecognised
from ap_resume_shim.core.exchange import Ask, Ended, Request, Response, Step
from ap_resume_shim.core.protocol import Resume
from ap_resume_shim.core.reading import read_lookup, read_refusal

Flavour = Literal["current", "old", "js"]

_CARRIES: dict[Flavour, wire.Carries] = {
    "current": wire.Carries("LangGraph's server", wire.UINT64),
    "old": wire.Carries("This LangGraph server", wire.INT64),
    "js": wire.Carries("LangGraph's JavaScript server", wire.DOUBLE, nul=True, serialised=False),
}


class LangGraph(Dialect):
    """`POST /threads/{thread_id}/runs` with `command.resume`, keyed by interrupt id."""

    name = "langgraph"
    thread_is = "The thread's own id: a UUID of `/threads`."
    family = "a command in the create-run body"
    marks = (Marks(info={"/langgraph_py_version": None}), Marks(info={"/langgraph_js_version": None}))
    reserved = wire.RESERVED
    forwards_extra = True
    accepts_at_head = True
    commit = "with_answer"
    interrupt_id_form = wire.INTERRUPT_ID

    def thread_key(self, thread_id: str) -> str:
        """The servers take upper case and missing dashes for the same thread, so they are one key."""
        if not wire.is_uuid(thread_id):
            raise InvalidRequest("`thread_id` is not a UUID, which LangGraph's threads are named by.")
        return thread_id.replace("-", "").lower()

    def lookup(self, resume: Resume, *, agent: bool = True) -> Lookup:
        """One request where the thread tells it all; its state and runs, side by side, where it does not."""
        wanted = resume.body.agent_id if agent else None
        first = [Request.get(wire.thread_path(resume))]
        if wanted is not None:
            first.append(wire.assistant_lookup(wanted))
        answers = yield Ask(tuple(first))
        thread = _Thread(read_lookup(answers[0]))
        assistant = {} if wanted is None else wire.read_assistant(answers[1], wanted)
        graph = assistant.get("graph_id")

        more: dict[str, Request] = {}
        enough = thread.tells_all or (not agent and thread.is_over)
        if not enough or (graph is not None and graph != thread.metadata.get("graph_id")):
            more["state"] = Request.get(wire.thread_path(resume) + "/state")
        if thread.status == "busy" or (agent and wanted is None and thread.flavour != "current"):
            more["runs"] = Request.get(wire.thread_path(resume) + "/runs?limit=1000")
        told = {name: read_lookup(answer) for name, answer in zip(more, (yield from _ask(more)), strict=True)}

        state = told.get("state", {})
        if wanted is not None and state:
            wire.same_graph_or_refuse(wanted, graph, (state.get("metadata") or {}).get("graph_id"))
        runs: list[dict[str, Any]] = told.get("runs", [])
        if thread.status == "busy" and not any(wire.is_active(run) for run in runs):
            thread.rest()
        last = wire.newest(runs) or {}
        agent_id = (assistant or last or thread.metadata).get("assistant_id") or wanted
        return thread.found(state, agent_id=agent_id, run_id=last.get("run_id"))

    def check(self, resume: Resume, found: Found, verdict: Verdict) -> None:
        """Each of the servers changes other values."""
        wire.check_agent(found)
        _CARRIES[found.memory].check(verdict)

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

    def join(self, resume: Resume, started: Started) -> Request | None:
        """Events from now on: a run is replayed only where it was created for that."""
        return Request("GET", wire.run_path(resume, started.run_id) + "/stream", accept="text/event-stream")

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


def _ask(requests: dict[str, Request]) -> Generator[Step, Any, tuple[Response, ...]]:
    return (yield Ask(tuple(requests.values()))) if requests else ()


class _Thread:
    """The answer to `GET /threads/{thread_id}`, and how much of the truth it is."""

    def __init__(self, value: dict[str, Any]) -> None:
        self._value = value
        if value.get("status") not in get_args(ThreadStatus):
            raise UpstreamUnrecognised(
                f"The backend knows a thread status {value.get('status')!r}, which the shim does not."
            )
        self.status: ThreadStatus = value["status"]
        self.metadata: dict[str, Any] = value.get("metadata") or {}
        asked = (value.get("interrupts") or {}).values()
        self._interrupts = tuple(interrupt for task in asked for interrupt in wire.interrupts_of(task))

    @property
    def flavour(self) -> Flavour:
        """Which of the servers this is. Metadata belongs to the client on all but the current one."""
        if "state_updated_at" in self._value:
            return "current"
        return "old" if "error" in self._value else "js"

    @property
    def tells_all(self) -> bool:
        """Interrupts are right here when the thread says that it is interrupted; otherwise the state knows."""
        return self.status == "interrupted" and bool(self._interrupts)

    @property
    def is_over(self) -> bool:
        """After a run, `idle` means that nothing is asked; JavaScript's server says so after a cancelled run too."""
        return self.status == "idle" and self.flavour != "js"

    def rest(self) -> None:
        """No run is going on, whatever the status says: `busy` stays behind a run that was rolled back."""
        self.status, self._interrupts = "idle", ()

    def found(self, state: dict[str, Any], agent_id: str | None, run_id: str | None) -> Found:
        """The thread, with what its state adds."""
        pending, answered = wire.read_tasks(state)
        # While a run goes on, the thread still shows what was asked before it; the state, what is asked now.
        shown = () if self.status == "busy" else tuple(i for i in self._interrupts if i not in answered)
        interrupts = shown or pending
        stopped = self.status == "interrupted" and bool(state.get("next"))
        return Found(
            status=self.status,
            interrupts=interrupts,
            answered=answered,
            breakpoint=stopped and not interrupts and not answered,
            agent_id=agent_id,
            values=self._value.get("values"),
            error=self._value.get("error") or wire.task_error(state),
            updated_at=self._value.get("updated_at"),
            run_id=run_id,
            memory=self.flavour,
        )
