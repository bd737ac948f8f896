"""Aegra: LangGraph's vocabulary on PostgreSQL, with other habits.

It has no mutual exclusion (two resumes that pass its check both run), answers 400 for "not interrupted", and does not
take a resume at all once a run was cancelled or failed: such a thread is armed again first.

The newest run tells the status here: it is committed together with the thread's, before the answer's first byte, so
that a lookup made after the acceptance of a resume sees it.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

from ap_resume_shim.backends import langgraph_wire as wire
from ap_resume_shim.backends.langgraph_state import INTERRUPT_ID, Questions, interrupts_of, names_of
from ap_resume_shim.core.dialect import (
    AT_BREAKPOINT,
    Dialect,
    Found,
    GoOn,
    Input,
    Lookup,
    Marks,
    Started,
    ThreadStatus,
    Verdict,
)
from ap_resume_shim.core.errors import InterruptAlreadyAnswered, InterruptNotPending, ResumeError, UpstreamError
from ap_resume_shim.core.exchange import Ask, Ended, Pause, Request, Response, Step
from ap_resume_shim.core.protocol import Resume
from ap_resume_shim.core.reading import error_text, read_lookup, read_refusal

_STATUS: dict[str, ThreadStatus] = {
    "pending": "busy",
    "running": "busy",
    "interrupted": "interrupted",
    "error": "error",
    "timeout": "error",
}
_GO_ON: dict[str, Any] = {"checkpoint": {}}
"""The latest checkpoint: continues a breakpoint, retries a failed step with its first answer."""
_SETTLES = 10
"""How often an armed thread is looked at again that still looks busy."""
_CARRIES = wire.Carries("Aegra", wire.UINT64)


class Aegra(Dialect):
    """`POST /threads/{thread_id}/runs` with `command.resume`, keyed by interrupt id."""

    name = "aegra"
    thread_is = "The thread's own id: any string, case-sensitive."
    unsupported = frozenset({"webhook"})  # accepted by the server, and never called
    family = "a command in the create-run body"
    marks = (Marks(info={"/name": "Aegra"}),)
    reserved = wire.RESERVED
    redirecting = wire.REDIRECTING
    way_out = wire.WAY_OUT
    vocabulary = wire.VOCABULARY
    forwards_extra = True
    accepts_at_head = True
    starts_runs = True
    commit = "with_answer"
    interrupt_id_form = INTERRUPT_ID

    def lookup(self, resume: Resume, *, agent: bool = True) -> Lookup:
        """State and newest runs, side by side: the thread itself shows neither interrupts nor values.

        Once more where their answers are not of one moment. After a run the state is enough.
        """
        wanted = resume.body.agent_id if agent else None
        path = wire.thread_path(resume)
        requests: tuple[Request, ...] = (Request.get(path + "/state?subgraphs=true"),)
        if agent:
            requests += (Request.get(path + "/runs?limit=10"),)
        assistant = () if wanted is None else (wire.assistant_lookup(wanted),)
        answers = yield Ask(requests + assistant)
        look = _Look(answers[: len(requests)])
        moving = False
        if not look.is_of_one_moment:
            again = _Look((yield Ask(requests)))
            look, moving = again, not again.equals(look)
        questions = Questions(look.state)
        if questions.errors and not questions.answered and not questions.open:
            questions.answered.extend((yield from wire.answered_beside(resume, look.state)))
        agent_id = None
        if agent:
            agent_id = yield from wire.choose_agent(wanted, answers[-1], look.last.get("assistant_id"), None)
        return look.found(questions, agent_id=agent_id, moving=moving)

    def check(self, resume: Resume, found: Found, verdict: Verdict) -> None:
        """PostgreSQL refuses NUL characters after the agent ran, and integers of more than 64 bits."""
        wire.check_agent(found)
        _CARRIES.check(verdict)

    def prepare(self, resume: Resume, found: Found, verdict: Verdict) -> Generator[Step, Any, tuple[Found, Verdict]]:
        """Arm a thread again that a cancelled or failed run left behind: its question is asked again, with a new id.

        From its whole checkpoint, since Aegra goes on with the answer of the cancelled run from an empty one.
        """
        memory: _Memory = found.memory
        if isinstance(verdict, GoOn) or memory.announced:
            return found, verdict
        (answer,) = yield Ask((Request.get(wire.thread_path(resume)),))
        if read_lookup(answer).get("status") == "interrupted":
            return found, verdict
        if memory.unsafe:
            raise InterruptAlreadyAnswered(
                "A run of this thread was cancelled or failed after its question. Aegra would go on with an answer "
                f"that it has stored, or run the steps beside the question again. {self.way_out}",
                found.interrupts,
            )
        body = {"assistant_id": found.agent_id, "checkpoint": memory.checkpoint}
        (answer,) = yield Ask((Request.post(wire.thread_path(resume) + "/runs/wait", body),))
        if not answer.ok:
            raise _not_armed(error_text(answer))
        armed = yield from self.lookup(resume)
        for _ in range(_SETTLES):  # the run's row is written a moment after the answer to its wait
            if armed.status != "busy":
                break
            yield Pause(0.1)
            armed = yield from self.lookup(resume)
        if not armed.memory.announced:
            raise _not_armed(armed.error)
        return armed, _readdressed(verdict, found, armed)

    def resume(self, resume: Resume, found: Found, verdict: Verdict) -> Request:
        """`input: null` is 422 there; the empty checkpoint is what it is elsewhere."""
        return wire.create_request(resume, found, wire.answer(verdict, go_on=_GO_ON))

    def refusal(self, response: Response) -> ResumeError:
        """400 "Cannot resume: thread is not in interrupted state", among others."""
        return read_refusal(response, wire.RULES)

    def started(self, response: Response, body: bytes, resume: Resume, found: Found) -> Started | None:
        """Wait and stream name the run in `Content-Location`, background in its body."""
        return wire.read_started(response, body, resume, found)

    def cancel(self, resume: Resume, started: Started) -> Request | None:
        """`on_disconnect` is ignored on a wait."""
        return Request.post(wire.run_path(resume, started.run_id) + "/cancel")

    def join(self, resume: Resume, started: Started) -> Request | None:
        """All of it from its beginning, while the run goes on."""
        return Request("GET", wire.run_path(resume, started.run_id) + "/stream", accept="text/event-stream")

    def location(self, resume: Resume, started: Started) -> str:
        """`/threads/{thread_id}/runs/{run_id}`."""
        return wire.run_path(resume, started.run_id)

    def run(self, resume: Resume, started: Started) -> Request:
        """The run itself."""
        return Request.get(wire.run_path(resume, started.run_id))

    def has_ended(self, response: Response) -> bool:
        """Neither pending nor running."""
        return wire.run_has_ended(response)

    def ended(self, body: bytes) -> Ended:
        """Values, and `__interrupt__` or `__error__` beside them."""
        return wire.read_ended(body)

    def delete(self, resume: Resume) -> Request | None:
        """Answered with 200 there."""
        return Request("DELETE", wire.thread_path(resume))


@dataclass(frozen=True, slots=True)
class _Memory:
    announced: bool
    """Whether the newest run stopped at a question, so that Aegra takes an answer."""
    checkpoint: Any
    """The head of the thread's state."""
    unsafe: bool
    """Whether the thread cannot be armed from its checkpoint: steps that ended beside the question would run again, or
    the checkpoint is a fork or an update itself, from which Aegra goes on with the answer that was cancelled."""


class _Look:
    """The answers of one look at a thread: its state and, before a resume, its newest runs."""

    def __init__(self, answers: tuple[Response, ...]) -> None:
        self._raw = [read_lookup(answer) for answer in answers]
        self.state: dict[str, Any] = self._raw[0]
        self.runs: list[dict[str, Any]] | None = self._raw[1] if len(self._raw) > 1 else None
        self.last: dict[str, Any] = wire.newest(self.runs or []) or {}

    def equals(self, other: _Look) -> bool:
        """Whether nothing changed between two looks."""
        return self._raw == other._raw

    @property
    def is_of_one_moment(self) -> bool:
        """Whether the state lists what the newest run has announced."""
        announced = interrupts_of(_announced(self.last))
        return wire.is_active(self.last) or names_of(announced) <= names_of(Questions(self.state).open)

    def found(self, questions: Questions, *, agent_id: str | None, moving: bool) -> Found:
        """The thread. Without runs, the state alone tells whether it is at rest."""
        error = next(iter(questions.errors), None)
        status: ThreadStatus = "interrupted" if questions.pending else "idle" if error is None else "error"
        at_breakpoint = bool(self.state.get("next")) and error is None
        if self.runs is not None:
            busy = any(wire.is_active(run) for run in self.runs)
            status = "busy" if busy else _STATUS.get(str(self.last.get("status")), "idle")
            at_breakpoint = at_breakpoint and self.last.get("status") == "success"
        stopped = questions.stopped
        asked = questions.pending or questions.answered
        return Found(
            status=status,
            interrupts=questions.pending,
            answered=tuple(questions.answered),
            breakpoint=not asked and (stopped is not None or at_breakpoint),
            stopped=stopped or AT_BREAKPOINT,
            moving=moving,
            place=wire.place(self.state),
            agent_id=agent_id,
            values=self.state.get("values"),
            error=self.last.get("error_message") or error,
            updated_at=self.last.get("updated_at") or self.state.get("created_at"),
            run_id=self.last.get("run_id"),
            memory=_Memory(
                bool(_announced(self.last)),
                self.state.get("checkpoint"),
                (self.state.get("metadata") or {}).get("source") != "loop"
                or any(task.get("result") is not None for task in self.state.get("tasks") or ()),
            ),
        )


def _announced(run: dict[str, Any]) -> Any:
    """The questions at which a run stopped; a cancelled one is `interrupted` too (recording `cancelled`)."""
    output = run.get("output")
    stopped = run.get("status") == "interrupted" and isinstance(output, dict)
    return output.get("__interrupt__") if stopped and isinstance(output, dict) else None


def _not_armed(why: Any) -> UpstreamError:
    message = f"The thread could not be armed again after its last run: {str(why).rstrip('.')}."
    return UpstreamError(message, {"resume_state": "not_sent"})


def _readdressed(verdict: Input, found: Found, armed: Found) -> Input:
    """The answers under the ids with which their questions were asked again; raises where a question is not there."""
    by_id: dict[str | None, Any] = {}
    for old in found.interrupts:
        if old.id not in verdict.by_id:
            continue
        same = [new.id for new in armed.interrupts if new.value == old.value and new.id not in by_id]
        alike = [other for other in found.interrupts if other.value == old.value]
        if len(same) != 1 or len(alike) != 1:
            raise InterruptNotPending(
                "The thread had to be armed again after its last run, and asks something else now. "
                "The answer was not sent: read the questions, and answer them.",
                armed.interrupts,
            )
        by_id[same[0]] = verdict.by_id[old.id]
    return Input(by_id)
