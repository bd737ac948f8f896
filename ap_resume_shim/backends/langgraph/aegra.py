"""Aegra: LangGraph's vocabulary on PostgreSQL, with other habits.

It has no mutual exclusion (two resumes that pass its check both run), answers 400 for "not interrupted", and does not
take a resume at all once a run was cancelled or failed: such a thread is armed again first.

The newest run tells the status here: it is committed together with the thread's, before the answer's first byte, so
that a lookup made after the acceptance of a resume sees it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ap_resume_shim.backends.langgraph import messages as wire
from ap_resume_shim.backends.langgraph.family import LangGraphFamily
from ap_resume_shim.backends.langgraph.state import Questions, interrupts_of, names_of
from ap_resume_shim.core.dialect import (
    AT_BREAKPOINT,
    Answers,
    Continue,
    Decision,
    Fingerprint,
    Found,
    Lookup,
    ThreadStatus,
)
from ap_resume_shim.core.dialect_helpers import error_text, read_lookup
from ap_resume_shim.core.errors import InterruptAlreadyAnswered, InterruptNotPending, UpstreamError
from ap_resume_shim.core.http import Request, Response
from ap_resume_shim.core.json_values import UINT64, Carries
from ap_resume_shim.core.protocol import Resume
from ap_resume_shim.core.steps import Ask, Pause, Steps

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
_CARRIES = Carries("Aegra", UINT64, nul=False)


@dataclass(frozen=True, slots=True)
class AegraContext:
    """What a lookup saw beside the questions: how the newest run left the thread."""

    announced: bool
    """Whether the newest run stopped at a question, so that Aegra takes an answer."""
    checkpoint: Any
    """The head of the thread's state."""
    unsafe: bool
    """Whether the thread cannot be armed from its checkpoint: steps that ended beside the question would run again, or
    the checkpoint is a fork or an update itself, from which Aegra goes on with the answer that was cancelled."""


class Aegra(LangGraphFamily[AegraContext]):
    """Aegra: arms a thread again where its last run was cancelled or failed."""

    name = "aegra"
    thread_is = "The thread's own id: any string, case-sensitive."
    unsupported = frozenset({"webhook"})  # accepted by the server, and never called
    fingerprints = (Fingerprint(info={"/name": "Aegra"}),)

    def lookup(self, resume: Resume, *, agent: bool = True) -> Lookup[AegraContext]:
        """State and newest runs, side by side: the thread itself shows neither interrupts nor values.

        Once more where their answers are not of one moment. After a run the state is enough.
        """
        wanted = resume.body.agent_id if agent else None
        path = wire.thread_path(resume)
        requests: tuple[Request, ...] = (Request.get(path + "/state?subgraphs=true"),)
        if agent:
            requests += (Request.get(path + "/runs?limit=10"),)
        assistant = () if wanted is None else (wire.assistant_lookup(wanted),)
        answers = yield from Ask(requests + assistant)
        look = _Look(answers[: len(requests)])
        moving = False
        if not look.is_of_one_moment:
            again = _Look((yield from Ask(requests)))
            look, moving = again, not again.equals(look)
        questions = Questions(look.state)
        if questions.errors and not questions.answered and not questions.open:
            questions.answered.extend((yield from wire.answered_beside(resume, look.state)))
        agent_id = None
        if agent:
            agent_id = yield from wire.choose_agent(wanted, answers[-1], look.last.get("assistant_id"), None)
        return look.found(questions, agent_id=agent_id, moving=moving)

    def check(self, resume: Resume, found: Found[AegraContext], verdict: Decision) -> None:
        """PostgreSQL refuses NUL characters after the agent ran, and integers of more than 64 bits."""
        wire.check_agent(found)
        _CARRIES.check(verdict.values if isinstance(verdict, Answers) else ())

    def prepare(
        self, resume: Resume, found: Found[AegraContext], verdict: Decision
    ) -> Steps[tuple[Found[AegraContext], Decision]]:
        """Arm a thread again that a cancelled or failed run left behind: its question is asked again, with a new id.

        From its whole checkpoint, since Aegra goes on with the answer of the cancelled run from an empty one.
        """
        context = found.context
        if isinstance(verdict, Continue) or context.announced:
            return found, verdict
        (answer,) = yield from Ask((Request.get(wire.thread_path(resume)),))
        if read_lookup(answer).get("status") == "interrupted":
            return found, verdict
        if context.unsafe:
            raise InterruptAlreadyAnswered(
                "A run of this thread was cancelled or failed after its question. Aegra would go on with an answer "
                f"that it has stored, or run the steps beside the question again. {self.way_out}",
                found.interrupts,
            )
        body = {"assistant_id": found.agent_id, "checkpoint": context.checkpoint}
        (answer,) = yield from Ask((Request.post(wire.thread_path(resume) + "/runs/wait", body),))
        if not answer.ok:
            raise _not_armed(error_text(answer))
        armed = yield from self.lookup(resume)
        for _ in range(_SETTLES):  # the run's row is written a moment after the answer to its wait
            if armed.status != "busy":
                break
            yield from Pause(0.1)
            armed = yield from self.lookup(resume)
        if not armed.context.announced:
            raise _not_armed(armed.error)
        return armed, _readdressed(verdict, found, armed)

    def resume(self, resume: Resume, found: Found[AegraContext], verdict: Decision) -> Request:
        """`input: null` is 422 there; the empty checkpoint is what it is elsewhere."""
        return wire.create_request(resume, found, wire.answer(verdict, go_on=_GO_ON))


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

    def found(self, questions: Questions, *, agent_id: str | None, moving: bool) -> Found[AegraContext]:
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
            context=AegraContext(
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


def _readdressed(verdict: Answers, found: Found[AegraContext], armed: Found[AegraContext]) -> Answers:
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
    return Answers(by_id)
