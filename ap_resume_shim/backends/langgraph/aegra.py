"""Aegra: LangGraph's API on PostgreSQL.

It differs from LangGraph's servers in three ways:

- It has no mutual exclusion: two resumes that pass its check both run.
- It responds 400 for "not interrupted".
- It accepts no resume after a run was cancelled or failed. The shim arms such a thread first: it runs the thread from
  its checkpoint, so that the question is asked again.

The status comes from the newest run. Aegra commits the run together with the thread, before the first byte of the
response, so a lookup after an accepted resume sees it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from ap_resume_shim.backends.langgraph import messages as wire
from ap_resume_shim.backends.langgraph.family import LangGraphFamily
from ap_resume_shim.backends.langgraph.listing import Failed, Interrupted
from ap_resume_shim.backends.langgraph.state import Questions, interrupts_of, names_of
from ap_resume_shim.core.dialect import AT_BREAKPOINT, Answers, Continue, Decision, Found, Lookup, ThreadStatus
from ap_resume_shim.core.dialect_helpers import error_text, read_lookup
from ap_resume_shim.core.errors import InterruptAlreadyAnswered, InterruptNotPending, UpstreamError
from ap_resume_shim.core.fingerprint import Fingerprint
from ap_resume_shim.core.http import Request, Response
from ap_resume_shim.core.json_values import UINT64, Carries
from ap_resume_shim.core.listing import Candidate, Listing, Page, collect
from ap_resume_shim.core.protocol import Resume
from ap_resume_shim.core.reframer import Ended
from ap_resume_shim.core.steps import Ask, Pause, Steps

_STATUS: dict[str, ThreadStatus] = {
    "pending": "busy",
    "running": "busy",
    "interrupted": "interrupted",
    "error": "error",
    "timeout": "error",
}
_CONTINUE: dict[str, Any] = {"checkpoint": {}}
"""Fields that run from the latest checkpoint: they continue a breakpoint, or retry a failed step with its first answer.
"""
_CANCELLED = (
    "Aegra reports a thread as idle after its resume was cancelled: its question is not in this list, but at the "
    "thread's own address."
)
_SETTLE_LOOKUPS = 10
"""Maximum number of lookups while an armed thread still looks busy."""
_CARRIES = Carries("Aegra", UINT64, nul=False)


@dataclass(frozen=True, slots=True)
class AegraContext:
    """The state in which the newest run left the thread."""

    announced: bool
    """True if the newest run stopped at a question, so that Aegra accepts an answer."""
    checkpoint: Any
    """The latest checkpoint of the thread."""
    unsafe: bool
    """True if the thread cannot be armed from its checkpoint. Either parallel steps that have ended would run again, or
    the checkpoint is a fork or an update, from which Aegra would continue with the answer of the cancelled run."""


class Aegra(LangGraphFamily[AegraContext]):
    """Aegra. A thread whose last run was cancelled or failed is armed before the resume."""

    name = "aegra"
    thread_is = "The thread's own id: any string, case-sensitive."
    unsupported = frozenset({"webhook"})  # the server accepts it, but never calls it
    fingerprints = (Fingerprint(info={"/name": "Aegra"}),)

    def inspect_thread(self, resume: Resume, *, full: bool = True) -> Lookup[AegraContext]:
        """Read the state and the newest runs in parallel; the thread itself has neither interrupts nor values.

        Both are read again if they disagree. After a run the state is enough.
        """
        requested = resume.body.agent_id if full else None
        path = wire.thread_path(resume)
        requests: tuple[Request, ...] = (Request.get(path + "/state?subgraphs=true"),)
        if full:
            requests += (Request.get(path + "/runs?limit=10"),)
        assistant = () if requested is None else (wire.assistant_lookup(requested),)
        answers = yield from Ask(requests + assistant)
        snapshot = _Snapshot(answers[: len(requests)])
        moving = False
        if not snapshot.is_consistent:
            again = _Snapshot((yield from Ask(requests)))
            snapshot, moving = again, not again.equals(snapshot)
        questions = Questions(snapshot.state)
        if questions.errors and not questions.answered and not questions.open:
            questions.answered.extend((yield from wire.answered_beside(resume, snapshot.state)))
        agent_id = None
        if full:
            agent_id = yield from wire.choose_agent(requested, answers[-1], snapshot.last.get("assistant_id"), None)
        return snapshot.found(questions, agent_id=agent_id, moving=moving)

    def list_waiting(self, page: Page) -> Steps[Listing]:
        """Search for threads that are `interrupted`, and for the newest that failed.

        Rows do not list questions, so each idle thread would have to be read.
        """
        agent = page.agent_id
        return collect(page, (Interrupted(agent), Failed(agent, per_candidate=1)), notes=(_CANCELLED,))

    def read_candidate(self, resume: Resume, candidate: Candidate) -> Lookup[AegraContext]:
        """Read the state, which decides."""
        (answer,) = yield from Ask((Request.get(wire.thread_path(resume) + "/state?subgraphs=true"),))
        snapshot = _Snapshot((answer,))
        agent_id = (candidate.row.get("metadata") or {}).get("assistant_id")
        return snapshot.found(Questions(snapshot.state), agent_id=agent_id, moving=False)

    def check(self, resume: Resume, found: Found[AegraContext], verdict: Decision) -> None:
        """Refuse values that PostgreSQL cannot store: NUL characters and integers of more than 64 bits.

        PostgreSQL rejects NUL characters only after the agent has run.
        """
        wire.check_agent(found)
        _CARRIES.check(verdict.values if isinstance(verdict, Answers) else ())

    def prepare(
        self, resume: Resume, found: Found[AegraContext], verdict: Decision
    ) -> Steps[tuple[Found[AegraContext], Decision]]:
        """Arm a thread whose last run was cancelled or failed: its question is asked again, with a new id.

        The request names the whole checkpoint: with an empty one, Aegra would continue with the answer of the cancelled
        run. Raises `InterruptAlreadyAnswered` for an unsafe checkpoint, `UpstreamError` if arming fails, and
        `InterruptNotPending` if the thread asks something else now.
        """
        context = found.context
        if isinstance(verdict, Continue) or context.announced:
            return found, verdict
        (answer,) = yield from Ask((Request.get(wire.thread_path(resume)),))
        if read_lookup(answer).get("status") == "interrupted":
            return found, verdict
        if context.unsafe:
            raise InterruptAlreadyAnswered(
                "A run of this thread was cancelled or failed after its question. Aegra would continue with an answer "
                f"that it has stored, or repeat the steps that ran in parallel to the question. {self.way_out}",
                found.interrupts,
            )
        body = {"assistant_id": found.agent_id, "checkpoint": context.checkpoint}
        (answer,) = yield from Ask((Request.post(wire.thread_path(resume) + "/runs/wait", body),), once=True)
        if not answer.ok:
            raise _not_armed(error_text(answer))
        armed = yield from self.inspect_thread(resume)
        for _ in range(_SETTLE_LOOKUPS):  # Aegra writes the run's row a moment after it has responded
            if armed.status != "busy":
                break
            yield from Pause(0.1)
            armed = yield from self.inspect_thread(resume)
        if not armed.context.announced:
            failure = _not_armed(armed.error)
            failure.advice = "The answer was not sent, and the thread may accept none now: read it first."
            raise failure
        return armed, _readdressed(verdict, found, armed)

    def resume(self, resume: Resume, found: Found[AegraContext], verdict: Decision) -> Request:
        """Build the create-run request. Aegra rejects `input: null` with 422; an empty checkpoint has its effect."""
        return wire.create_request(resume, found, wire.answer(verdict, go_on=_CONTINUE))

    def ended(self, body: bytes) -> Ended:
        """Read the values and the error. Aegra lists one of several questions here; the state lists all."""
        return replace(super().ended(body), interrupts=())


class _Snapshot:
    """The responses of one lookup: the thread's state and, before a resume, its newest runs."""

    def __init__(self, answers: tuple[Response, ...]) -> None:
        self._raw = [read_lookup(answer) for answer in answers]
        self.state: dict[str, Any] = self._raw[0]
        self.runs: list[dict[str, Any]] | None = self._raw[1] if len(self._raw) > 1 else None
        self.last: dict[str, Any] = wire.newest(self.runs or []) or {}

    def equals(self, other: _Snapshot) -> bool:
        """True if nothing changed between two lookups."""
        return self._raw == other._raw

    @property
    def is_consistent(self) -> bool:
        """True if the responses agree: the state lists the questions at which the newest run stopped."""
        announced = interrupts_of(_announced(self.last))
        return wire.is_active(self.last) or names_of(announced) <= names_of(Questions(self.state).open)

    def found(self, questions: Questions, *, agent_id: str | None, moving: bool) -> Found[AegraContext]:
        """Return the thread. Without runs, the status comes from the state alone."""
        error = next(iter(questions.errors), None)
        status: ThreadStatus = "interrupted" if questions.pending else "idle" if error is None else "error"
        at_breakpoint = bool(self.state.get("next")) and error is None
        if self.runs is not None:
            busy = any(wire.is_active(run) for run in self.runs)
            status = "busy" if busy else _STATUS.get(str(self.last.get("status")), "idle")
            at_breakpoint = at_breakpoint and self.last.get("status") == "success"
        stopped = questions.stopped
        answerable = questions.pending or questions.answered
        return Found(
            status=status,
            interrupts=questions.pending,
            answered=tuple(questions.answered),
            breakpoint=not answerable and (stopped is not None or at_breakpoint),
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
    """Return the questions at which a run stopped.

    The status alone is not enough: a cancelled run is `interrupted` too (recording `cancelled`).
    """
    output = run.get("output")
    stopped = run.get("status") == "interrupted" and isinstance(output, dict)
    return output.get("__interrupt__") if stopped and isinstance(output, dict) else None


def _not_armed(why: Any) -> UpstreamError:
    message = f"The thread could not be armed again after its last run: {str(why).rstrip('.')}."
    return UpstreamError(message, {"resume_state": "not_sent"})


def _readdressed(verdict: Answers, found: Found[AegraContext], armed: Found[AegraContext]) -> Answers:
    """Return the answers under the new ids of their questions.

    Raises `InterruptNotPending` if a question is not asked again, or cannot be distinguished from another one.
    """
    by_id: dict[str | None, Any] = {}
    for old in found.interrupts:
        if old.id not in verdict.by_id:
            continue
        same = [new.id for new in armed.interrupts if new.value == old.value and new.id not in by_id]
        alike = [other for other in found.interrupts if other.value == old.value]
        if len(same) != 1 or len(alike) != 1:
            raise InterruptNotPending(
                "The thread had to be armed again after its last run, and has another question now. "
                "The answer was not sent: read the questions, and answer them.",
                armed.interrupts,
            )
        by_id[same[0]] = verdict.by_id[old.id]
    return Answers(by_id)
