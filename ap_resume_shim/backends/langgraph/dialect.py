"""LangGraph's API servers: the current one, older ones, and the JavaScript one.

They are told apart by what they answer: the current server's thread has `state_updated_at`, older ones have `error`
without it, and JavaScript's has neither.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from ap_resume_shim.backends.langgraph import messages as wire
from ap_resume_shim.backends.langgraph.family import LangGraphFamily
from ap_resume_shim.backends.langgraph.state import Questions, interrupts_of, names_of, was_refused
from ap_resume_shim.core.dialect import (
    AT_BREAKPOINT,
    Answers,
    Decision,
    Fingerprint,
    Found,
    Lookup,
    ThreadStatus,
)
from ap_resume_shim.core.dialect_helpers import read_lookup
from ap_resume_shim.core.errors import InvalidRequest, MultipleInterrupts, UnsupportedInput, UpstreamUnrecognised
from ap_resume_shim.core.http import Request, Response
from ap_resume_shim.core.interrupt import Interrupt
from ap_resume_shim.core.json_values import INT64, SAFE, UINT64, Carries, is_uuid
from ap_resume_shim.core.protocol import Resume
from ap_resume_shim.core.steps import Ask, Steps

Flavour = Literal["current", "old", "js"]

_CARRIES: dict[Flavour, Carries] = {
    "current": Carries("LangGraph's server", UINT64, nul=False),
    "old": Carries("This LangGraph server", INT64, nul=False),
    "js": Carries("LangGraph's JavaScript server", SAFE, serialised=False),
}

_RUNS_AGAIN = (
    "A run of this thread was created with a `checkpoint`, and this server goes back to that place with each run: it "
    "would run the steps again that have ended beside the question. "
)


@dataclass(frozen=True, slots=True)
class LangGraphContext:
    flavour: Flavour
    to_head: Mapping[str, Any]
    """What overrides the place that an earlier run left in the thread's row."""
    runs_again: bool
    """Whether the server runs steps again that have ended beside a question."""
    ended: bool
    """Whether there are such steps."""


class LangGraph(LangGraphFamily[LangGraphContext]):
    """LangGraph's API servers: the current one, older ones, and the JavaScript one."""

    name = "langgraph"
    thread_is = "The thread's own id: a UUID of `/threads`."
    specificity = -1  # other servers of this API report LangGraph's version as well as their own
    fingerprints = (
        Fingerprint(info={"/langgraph_py_version": None}),
        Fingerprint(info={"/langgraph_js_version": None}),
    )

    def thread_key(self, thread_id: str) -> str:
        """The servers take upper case and missing dashes for the same thread, so they are one key."""
        if not is_uuid(thread_id):
            raise InvalidRequest("`thread_id` is not a UUID, which LangGraph's threads are named by.")
        return thread_id.replace("-", "").lower()

    def lookup(self, resume: Resume, *, agent: bool = True) -> Lookup[LangGraphContext]:
        """Thread, state and runs, side by side; once more where their answers are not of one moment."""
        wanted = resume.body.agent_id if agent else None
        path = wire.thread_path(resume)
        requests = (
            Request.get(path),
            Request.get(path + "/state?subgraphs=true"),
            Request.get(path + f"/runs?limit=1000{_SELECTED}"),
        )
        assistant = () if wanted is None else (wire.assistant_lookup(wanted),)
        answers = yield from Ask(requests + assistant)
        look = _Look(answers)
        moving = False
        if not look.is_of_one_moment:
            again = _Look((yield from Ask(requests)))
            look, moving = again, not again.equals(look)
        questions = yield from _questions(resume, look)
        agent_id: str | None = None
        if agent:
            own = look.last.get("assistant_id") or look.metadata.get("assistant_id")
            graph = (look.state.get("metadata") or {}).get("graph_id")
            agent_id = yield from wire.choose_agent(wanted, answers[-1], own, graph)
        return look.found(questions, agent_id=agent_id, moving=moving)

    def check(self, resume: Resume, found: Found[LangGraphContext], verdict: Decision) -> None:
        """Each of the servers changes other values."""
        wire.check_agent(found)
        context = found.context
        if context.runs_again and context.ended:
            raise UnsupportedInput(_RUNS_AGAIN + "Copy the thread (`POST /threads/{thread_id}/copy`) and resume that.")
        if context.runs_again and isinstance(verdict, Answers) and len(verdict.by_id) < len(found.interrupts):
            raise MultipleInterrupts(_RUNS_AGAIN + "Answer all questions at once.", found.interrupts)
        _CARRIES[context.flavour].check(verdict.values if isinstance(verdict, Answers) else ())

    def resume(self, resume: Resume, found: Found[LangGraphContext], verdict: Decision) -> Request:
        """`reject` makes the server itself refuse a second run: atomic, whoever else talks to it."""
        answer = wire.answer(verdict, go_on={"input": None})
        given = {**answer, "multitask_strategy": "reject"}
        return wire.create_request(resume, found, given, to_head=found.context.to_head)


_SELECTED = "".join(f"&select={name}" for name in ("run_id", "assistant_id", "status", "created_at"))
"""What is read of a run; servers that do not know `select` answer with all of it."""


class _Look:
    """The answers of one look at a thread: its row (`GET /threads/{thread_id}`), its state, its runs."""

    def __init__(self, answers: tuple[Response, ...]) -> None:
        row, self.state, self.runs = self._raw = [read_lookup(answer) for answer in answers[:3]]
        if row.get("status") not in get_args(ThreadStatus):
            raise UpstreamUnrecognised(
                f"The backend knows a thread status {row.get('status')!r}, which the shim does not."
            )
        self._row: dict[str, Any] = row
        self.metadata: dict[str, Any] = row.get("metadata") or {}
        self.asked: dict[str, Any] = row.get("interrupts") or {}
        self.last: dict[str, Any] = wire.newest(self.runs) or {}
        self._active = any(wire.is_active(run) for run in self.runs)

    def equals(self, other: _Look) -> bool:
        """Whether nothing at all changed between two looks."""
        return self._raw == other._raw

    @property
    def is_of_one_moment(self) -> bool:
        """Whether the answers agree; a row that lags behind its state, or stays `busy`, never agrees with it."""
        if self._active or self._row["status"] == "busy":
            return self._active and self._row["status"] == "busy"
        asked = (interrupt for raw in self.asked.values() for interrupt in interrupts_of(raw))
        return names_of(asked) == names_of(Questions(self.state).open)

    @property
    def flavour(self) -> Flavour:
        """Which of the servers this is."""
        if "state_updated_at" in self._row:
            return "current"
        return "old" if "error" in self._row else "js"

    @property
    def _context(self) -> LangGraphContext:
        to_head = wire.to_head(self._row)
        ended = any(task.get("result") is not None for task in self.state.get("tasks") or ())
        return LangGraphContext(self.flavour, to_head, "checkpoint_id" in to_head and self.flavour != "js", ended)

    def questions(self) -> Questions:
        """What is asked. While a run goes on, the row still shows what was asked before it."""
        questions = Questions(self.state)
        if not self._active:
            questions.fill_in(self.asked)
        return questions

    def found(self, questions: Questions, *, agent_id: str | None, moving: bool) -> Found[LangGraphContext]:
        """The thread. Its row stays `busy` after a run that was rolled back, which is seen by nothing moving."""
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


def _questions(resume: Resume, look: _Look) -> Steps[Questions]:
    """The questions, with what a failed step makes unclear: was its answer saved, and what was answered beside it."""
    questions = look.questions()
    for interrupt, error in questions.refusals:
        if look.flavour == "js" or (yield from _was_refused(resume, look, interrupt, error)):
            questions.reopen(interrupt)
    if questions.errors and not questions.answered and not questions.open:
        questions.answered.extend((yield from wire.answered_beside(resume, look.state)))
    return questions


def _was_refused(resume: Resume, look: _Look, interrupt: Interrupt, error: str) -> Steps[bool]:
    """The run that failed shows the answer that it brought."""
    (answer,) = yield from Ask((Request.get(wire.run_path(resume, str(look.last.get("run_id")))),))
    return answer.ok and was_refused(interrupt, error, answer.json)
