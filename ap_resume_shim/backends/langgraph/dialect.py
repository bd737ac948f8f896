"""LangGraph's API servers: the current one, older ones, and the JavaScript server.

The fields of a thread identify the server: the current one has `state_updated_at`, older ones have `error` without
`state_updated_at`, and the JavaScript server has neither.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from ap_resume_shim.backends.langgraph import messages as wire
from ap_resume_shim.backends.langgraph.family import LangGraphFamily
from ap_resume_shim.backends.langgraph.listing import Failed, Idle, Interrupted
from ap_resume_shim.backends.langgraph.state import Questions, interrupts_of, names_of, was_refused
from ap_resume_shim.core.dialect import AT_BREAKPOINT, Answers, Decision, Found, Lookup, ThreadStatus
from ap_resume_shim.core.dialect_helpers import read_lookup
from ap_resume_shim.core.errors import MultipleInterrupts, UnsupportedInput, UpstreamUnrecognised
from ap_resume_shim.core.fingerprint import Fingerprint
from ap_resume_shim.core.http import Request
from ap_resume_shim.core.interrupt import Interrupt
from ap_resume_shim.core.json_values import INT64, SAFE, UINT64, Carries, uuid_key
from ap_resume_shim.core.listing import Candidate, Listing, Page, collect
from ap_resume_shim.core.protocol import Resume
from ap_resume_shim.core.steps import Ask, Steps

Flavour = Literal["current", "old", "js"]

_CARRIES: dict[Flavour, Carries] = {
    "current": Carries("LangGraph's server", UINT64, nul=False),
    "old": Carries("This LangGraph server", INT64, nul=False),
    "js": Carries("LangGraph's JavaScript server", SAFE, serialised=False),
}

_RUNS_AGAIN = (
    "A run of this thread was created with a `checkpoint`, and this server returns to it with each run: it "
    "would repeat the steps that ended in parallel to the question. "
)


@dataclass(frozen=True, slots=True)
class LangGraphContext:
    """The server's flavour, and the checkpoint from which it would run."""

    flavour: Flavour
    to_head: Mapping[str, Any]
    """Fields of `config.configurable` that override the checkpoint of an earlier run in the thread's row."""
    runs_again: bool
    """True if the server would repeat steps that have ended in parallel to the question."""
    ended: bool
    """True if there are such steps."""


class LangGraph(LangGraphFamily[LangGraphContext]):
    """LangGraph's API servers: the current one, older ones, and the JavaScript server."""

    name = "langgraph"
    thread_is = "The thread's own id: a UUID of `/threads`."
    specificity = -1  # other servers of this API report LangGraph's version as well as their own
    fingerprints = (
        Fingerprint(info={"/langgraph_py_version": None}),
        Fingerprint(info={"/langgraph_js_version": None}),
    )

    def thread_key(self, thread_id: str) -> str:
        """Return the id in one spelling. Raises `InvalidRequest` for an id that is not a UUID."""
        return uuid_key(thread_id, "LangGraph's threads")

    def inspect_thread(self, resume: Resume, *, full: bool = True) -> Lookup[LangGraphContext]:
        """Read the thread, its state and its runs in parallel; read them again if they disagree."""
        requested = resume.body.agent_id if full else None
        path = wire.thread_path(resume)
        requests = (
            Request.get(path),
            Request.get(path + "/state?subgraphs=true"),
            Request.get(path + f"/runs?limit=1000{_RUN_FIELDS}"),
        )
        assistant = () if requested is None else (wire.assistant_lookup(requested),)
        answers = yield from Ask(requests + assistant)
        snapshot = _Snapshot(*map(read_lookup, answers[:3]))
        moving = False
        if not snapshot.is_consistent:
            again = _Snapshot(*map(read_lookup, (yield from Ask(requests))))
            snapshot, moving = again, not again.equals(snapshot)
        questions = yield from _questions(resume, snapshot)
        agent_id: str | None = None
        if full:
            own = snapshot.last.get("assistant_id") or snapshot.metadata.get("assistant_id")
            graph = (snapshot.state.get("metadata") or {}).get("graph_id")
            agent_id = yield from wire.choose_agent(requested, answers[-1], own, graph)
        return snapshot.found(questions, agent_id=agent_id, moving=moving)

    def list_waiting(self, page: Page) -> Steps[Listing]:
        """Search by status: `interrupted`, then the newest threads of `error` and `idle`, which may ask as well."""
        agent = page.agent_id
        return collect(page, (Interrupted(agent), Failed(agent, per_candidate=2), Idle(agent)))

    def read_candidate(self, resume: Resume, candidate: Candidate) -> Lookup[LangGraphContext]:
        """Read the state, which decides; the row is that of the search. Runs are read only after a failed step.

        The row of an idle thread is read again, because the search selects some of its fields.
        """
        path = wire.thread_path(resume)
        requests = [Request.get(path + "/state?subgraphs=true")]
        if candidate.row["status"] == "idle":
            requests.append(Request.get(path))
        state, *again = map(read_lookup, (yield from Ask(tuple(requests))))
        row = again[0] if again else candidate.row
        snapshot = _Snapshot(row, state, [])
        questions = snapshot.questions()
        run: dict[str, Any] = {}
        if questions.refusals and snapshot.flavour != "js":
            (answer,) = yield from Ask((Request.get(path + "/runs?limit=1"),))
            run = wire.newest(read_lookup(answer)) or {}
        for interrupt, error in questions.refusals:
            if snapshot.flavour == "js" or was_refused(interrupt, error, run):
                questions.reopen(interrupt)
        return snapshot.found(questions, agent_id=snapshot.metadata.get("assistant_id"), moving=row["status"] == "busy")

    def check(self, resume: Resume, found: Found[LangGraphContext], verdict: Decision) -> None:
        """Refuse values that this server would change, and a resume that would repeat steps that have ended."""
        wire.check_agent(found)
        context = found.context
        if context.runs_again and context.ended:
            raise UnsupportedInput(_RUNS_AGAIN + "Copy the thread (`POST /threads/{thread_id}/copy`) and resume that.")
        if context.runs_again and isinstance(verdict, Answers) and len(verdict.by_id) < len(found.interrupts):
            raise MultipleInterrupts(_RUNS_AGAIN + "Answer all questions at once.", found.interrupts)
        _CARRIES[context.flavour].check(verdict.values if isinstance(verdict, Answers) else ())

    def resume(self, resume: Resume, found: Found[LangGraphContext], verdict: Decision) -> Request:
        """Build the create-run request.

        With `multitask_strategy: reject` the server refuses a second run atomically, whichever client sends it.
        """
        answer = wire.answer(verdict, go_on={"input": None})
        fields = {**answer, "multitask_strategy": "reject"}
        return wire.create_request(resume, found, fields, to_head=found.context.to_head)


_RUN_FIELDS = "".join(f"&select={name}" for name in ("run_id", "assistant_id", "status", "created_at"))
"""Query for the fields of a run that the shim reads; servers without `select` respond with all fields."""


class _Snapshot:
    """The responses of one lookup: the thread's row (`GET /threads/{thread_id}`), its state and its runs.

    Raises `UpstreamUnrecognised` for an unknown thread status.
    """

    def __init__(self, row: dict[str, Any], state: dict[str, Any], runs: list[dict[str, Any]]) -> None:
        self._raw, self.state, self.runs = (row, state, runs), state, runs
        if row.get("status") not in get_args(ThreadStatus):
            raise UpstreamUnrecognised(
                f"The backend reported the thread status {row.get('status')!r}, which the shim does not know."
            )
        self._row: dict[str, Any] = row
        self.metadata: dict[str, Any] = row.get("metadata") or {}
        self.row_interrupts: dict[str, Any] = row.get("interrupts") or {}
        self.last: dict[str, Any] = wire.newest(self.runs) or {}
        self._active = any(wire.is_active(run) for run in self.runs)

    def equals(self, other: _Snapshot) -> bool:
        """True if nothing changed between two lookups."""
        return self._raw == other._raw

    @property
    def is_consistent(self) -> bool:
        """True if the responses agree. A row that lags behind the state, or stays `busy`, does not agree with it."""
        if self._active or self._row["status"] == "busy":
            return self._active and self._row["status"] == "busy"
        interrupts = (interrupt for raw in self.row_interrupts.values() for interrupt in interrupts_of(raw))
        return names_of(interrupts) == names_of(Questions(self.state).open)

    @property
    def flavour(self) -> Flavour:
        """The kind of server, from the fields of the thread's row."""
        if "state_updated_at" in self._row:
            return "current"
        return "old" if "error" in self._row else "js"

    @property
    def _context(self) -> LangGraphContext:
        to_head = wire.to_head(self._row)
        ended = any(task.get("result") is not None for task in self.state.get("tasks") or ())
        return LangGraphContext(self.flavour, to_head, "checkpoint_id" in to_head and self.flavour != "js", ended)

    def questions(self) -> Questions:
        """Return the questions. While a run is active, the row is ignored, since it lists earlier questions."""
        questions = Questions(self.state)
        if not self._active:
            questions.fill_in(self.row_interrupts)
            if self.flavour == "old" and self._row["status"] == "interrupted":
                questions.reopen_asked_again()
        return questions

    def found(self, questions: Questions, *, agent_id: str | None, moving: bool) -> Found[LangGraphContext]:
        """Return the thread.

        A row stays `busy` after a run was rolled back. Such a thread is idle: no run is active, and nothing changes
        between two lookups.
        """
        status: ThreadStatus = self._row["status"]
        if self._active or (status == "busy" and moving):
            status = "busy"
        elif status == "busy":
            status = "idle"
        stopped = questions.stopped
        at_breakpoint = status == "interrupted" and bool(self.state.get("next")) and not questions.errors
        halted = not questions.pending and not questions.answered and (stopped is not None or at_breakpoint)
        if status == "interrupted" and not (questions.pending or questions.answered or halted):
            status = "idle"
        return Found(
            status=status,
            interrupts=questions.pending,
            answered=tuple(questions.answered),
            breakpoint=halted,
            stopped=stopped or AT_BREAKPOINT,
            moving=moving,
            place=wire.place(self.state),
            agent_id=agent_id,
            values=self.state.get("values"),
            error=self._row.get("error") or next(iter(questions.errors), None),
            updated_at=self._row.get("updated_at"),
            run_id=self.last.get("run_id"),
            context=self._context,
        )


def _questions(resume: Resume, snapshot: _Snapshot) -> Steps[Questions]:
    """Return the questions. After a failed step, find out whether its answer was saved, and which others were."""
    questions = snapshot.questions()
    for interrupt, error in questions.refusals:
        if snapshot.flavour == "js" or (yield from _was_refused(resume, snapshot, interrupt, error)):
            questions.reopen(interrupt)
    if questions.errors and not questions.answered and not questions.open:
        questions.answered.extend((yield from wire.answered_beside(resume, snapshot.state)))
    return questions


def _was_refused(resume: Resume, snapshot: _Snapshot, interrupt: Interrupt, error: str) -> Steps[bool]:
    """Read the failed run, and return True if the server refused the answer in it."""
    (answer,) = yield from Ask((Request.get(wire.run_path(resume, str(snapshot.last.get("run_id")))),))
    return answer.ok and was_refused(interrupt, error, answer.json)
