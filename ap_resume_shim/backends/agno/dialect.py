"""AgentOS, Agno's server: agents, teams and workflows, which the runs of the session identify.

An agent or a team accepts a resume at any time: it runs an approved tool again, in a copy of the run if that has ended
(agno 3.1.10). Meanwhile the run looks paused. With `background` the server first stores that the run is running, so
the shim always sets it. Workflows store this in any case, and have no `background`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ap_resume_shim.backends.agno.conventions import ContinueRun
from ap_resume_shim.backends.agno.listing import list_waiting
from ap_resume_shim.backends.agno.questions import QUESTION_ID, current_step, has_expired, questions_of
from ap_resume_shim.backends.agno.runs import AgnoContext, Paused, Place
from ap_resume_shim.backends.agno.stream import AgnoStream, plain_name, text_of
from ap_resume_shim.core import sse
from ap_resume_shim.core.dialect import Answers, Decision, Dialect, Found, Lookup, Started
from ap_resume_shim.core.dialect_helpers import Rule, quoting, read_lookup, read_refusal
from ap_resume_shim.core.errors import (
    AgentNotFound,
    InvalidRequest,
    MultipleInterrupts,
    ResumeError,
    ThreadNotInterrupted,
    UpstreamError,
    UpstreamUnrecognised,
)
from ap_resume_shim.core.event_emitter import Emitter
from ap_resume_shim.core.fingerprint import Fingerprint
from ap_resume_shim.core.http import Request, Response, segment
from ap_resume_shim.core.interrupt import Interrupt
from ap_resume_shim.core.listing import Listing, Page
from ap_resume_shim.core.protocol import Mode, Resume
from ap_resume_shim.core.reframer import Reframer
from ap_resume_shim.core.steps import Ask, Steps

_COMPONENTS = {"workflow_id": "workflows", "team_id": "teams", "agent_id": "agents"}
_RUNNING = ("PENDING", "RUNNING")
_OPEN = "status=PAUSED&status=RUNNING&status=PENDING"
_RULES = (
    Rule(404, "agent_not_found", "agent not found"),
    Rule(404, "agent_not_found", "team not found"),
    Rule(404, "agent_not_found", "workflow not found"),
    Rule(409, "invalid_request", "submitted through the durable queue"),
    Rule(409, "invalid_request", "submitted non-streaming"),
    Rule(409, "thread_busy", "already running"),
    Rule(409, "thread_busy", "already pending"),
    Rule(409, "thread_not_interrupted", "already completed"),
    Rule(409, "thread_not_interrupted", "already cancelled"),
    Rule(409, "thread_not_interrupted", "has errored"),
    Rule(409, "thread_not_interrupted", "not paused"),
)
_NOT_PAUSED = ("no runs found", "could not find run", "run is cancelled", "not paused")


class Agno(Dialect[AgnoContext]):
    """`POST /{agents|teams|workflows}/{id}/runs/{run_id}/continue`, a form: the questions, with the answers in them."""

    name = "agno"
    family = "a form to the paused run"
    thread_is = "The session's id, any string."
    response_kinds = {Mode.BACKGROUND: "events", Mode.WAIT: "events", Mode.STREAM: "events"}
    fingerprints = (
        Fingerprint(info={"/agno_version": None}),
        Fingerprint(openapi=frozenset({f"POST /{kind}/{{}}/runs/{{}}/continue" for kind in ("agents", "teams")})),
    )
    options = {"db_id": "database of the sessions, if AgentOS has several databases"}
    limits = (
        "If another client continues a run of an agent or a team without `background=true`, the run looks paused while "
        "it runs: a resume at that time would run its tools a second time.",
        "A workflow ends with the request that resumes it: it is cancelled when the shim is stopped.",
        "A run that waits for an administrator's approval, or for a decision about a failed step, is 409: AgentOS has "
        "separate routes for such decisions.",
        "AgentOS resumes a run in its durable queue only if it is a run of an agent or a team that was started as a "
        "stream; others are 422.",
    )
    unsupported = frozenset({"webhook", "config"})
    interrupt_id_form = QUESTION_ID
    conventions = (ContinueRun(),)
    partial = False
    """The server rejects each question that has no answer."""

    def __init__(self, *, db_id: str = "") -> None:
        """`db_id` is the database of the sessions, if AgentOS has several."""
        self._db = f"db_id={segment(db_id)}" if db_id else ""

    def inspect_thread(self, resume: Resume, *, full: bool = True) -> Lookup[AgnoContext]:
        """Read the list of the session's active and paused runs; then each paused run, with its questions."""
        (response,) = yield from Ask((Request.get(self._session(resume, "/runs", _OPEN)),))
        if response.status == 400 and "db_id" in response.text:
            raise UpstreamUnrecognised(
                "AgentOS has several databases: name the one with the sessions in the option `db_id`."
            )
        running, paused = _places(read_lookup(response))
        if running:
            return _busy(running[-1])
        requested = resume.body.agent_id if full else None
        places = [place for place in paused if requested in (None, place.component)]
        if paused and not places:
            yield from _refuse_agent(str(requested), paused)
        places = [place for place in places if resume.run_id in (None, place.run_id)]
        if not places:
            return Found("idle", context=AgnoContext())
        answers = yield from Ask(tuple(Request.get(_run(resume, place)) for place in places))
        runs = []
        for place, answer in zip(places, answers, strict=True):
            run = read_lookup(answer)
            if run.get("status") in _RUNNING:  # it was paused in the list
                return _busy(place)
            expired = has_expired(current_step(run), resume.now)
            runs.append(Paused(place, run, questions_of(run, resume.now), expired))
        return _found(_runs_named_by(resume, runs) if full else runs, must_ask=full and resume.run_id is None)

    def list_waiting(self, page: Page) -> Steps[Listing]:
        """List sessions of agents, teams and workflows, waiting or not."""
        return list_waiting(page, self._db)

    def answered_together(self, found: Found[AgnoContext], interrupt: Interrupt) -> Sequence[Interrupt]:
        """Return the questions of the same run."""
        runs = ([question.interrupt for question in run.questions] for run in found.context.paused)
        return next((interrupts for interrupts in runs if interrupt in interrupts), (interrupt,))

    def check(self, resume: Resume, found: Found[AgnoContext], verdict: Decision) -> None:
        """Refuse answers to several runs, and answers that do not fit their questions."""
        runs = _answered(found, verdict)
        if len(runs) > 1:
            raise MultipleInterrupts(
                "These questions belong to several runs: answer those of one run at a time.", found.interrupts
            )
        runs[0].fields(_answers(verdict))

    def prepare(
        self, resume: Resume, found: Found[AgnoContext], verdict: Decision
    ) -> Steps[tuple[Found[AgnoContext], Decision]]:
        """Select the run that is resumed."""
        yield from ()
        (run,) = _answered(found, verdict)
        interrupts = tuple(question.interrupt for question in run.questions)
        return replace(
            found,
            interrupts=interrupts,
            agent_id=run.place.component,
            run_id=run.place.run_id,
            context=AgnoContext((run,), run.place),
        ), verdict

    def resume(self, resume: Resume, found: Found[AgnoContext], verdict: Decision) -> Request:
        """Build the form.

        With `background`, agents and teams store the run as running before its first event, and continue it when the
        client disconnects.
        """
        (run,) = found.context.paused
        fields = {"session_id": resume.thread_id, "stream": "true"}
        if run.place.kind != "workflows":
            fields["background"] = "true"
        fields |= run.fields(_answers(verdict))
        return Request.form(f"{run.place.path}/continue", fields, "text/event-stream")

    def refusal(self, response: Response) -> ResumeError:
        """Read an error status. Only workflows respond 409 for a run that is not paused."""
        return read_refusal(response, _RULES)

    def refused(self, resume: Resume, response: Response) -> ResumeError | None:
        """Return the error if the first event is a failure."""
        first = sse.first_event(response.body)
        event = first.json if first is not None else None
        if not isinstance(event, dict) or plain_name(event) not in ("RunError", "WorkflowError"):
            return None
        text = text_of(event)
        if any(phrase in text.lower() for phrase in _NOT_PAUSED):
            return quoting(ThreadNotInterrupted, "The backend reports that the run is not paused", text)
        if "unresolved" in text.lower():
            return quoting(InvalidRequest, "The backend reports that the answer is not one", text)
        return quoting(UpstreamError, "The backend failed before the run continued", text)

    def started(
        self, response: Response, body: bytes, resume: Resume, found: Found[AgnoContext]
    ) -> Started[AgnoContext] | None:
        """Return the run that was paused; its id does not change."""
        (run,) = found.context.paused
        return Started(run.place.run_id, run.place.component, run.place.created_at, context=found.context)

    def cancel(self, resume: Resume, started: Started[AgnoContext]) -> Request | None:
        """Cancel the run: when the client disconnects, only a workflow stops."""
        place = started.context.place
        return None if place is None else Request("POST", f"{place.path}/cancel")

    def join(self, resume: Resume, started: Started[AgnoContext]) -> Request | None:
        """Join the stream (AgentOS calls this `resume`): all events of the run again, then the new ones."""
        place = _place(started)
        fields = {"session_id": resume.thread_id}
        return None if place is None else Request.form(f"{place.path}/resume", fields, "text/event-stream")

    def location(self, resume: Resume, started: Started[AgnoContext]) -> str | None:
        """`/{agents|teams|workflows}/{id}/runs/{run_id}`, which needs the session's id too."""
        place = _place(started)
        return None if place is None else _run(resume, place)

    def run(self, resume: Resume, started: Started[AgnoContext]) -> Request | None:
        """Read the run."""
        place = _place(started)
        return None if place is None else Request.get(_run(resume, place))

    def has_ended(self, response: Response) -> bool:
        """True if the run is neither running nor pending."""
        run = response.json
        return not isinstance(run, dict) or run.get("status") not in _RUNNING

    def delete(self, resume: Resume) -> Request | None:
        """Delete the session, with all its runs."""
        return Request("DELETE", self._session(resume))

    def reframer(self, resume: Resume, started: Started[AgnoContext]) -> Reframer:
        """Convert AgentOS's events to the draft's events."""
        return AgnoStream(Emitter(resume.body.stream_modes), started.run_id, resume.now)

    def _session(self, resume: Resume, below: str = "", query: str = "") -> str:
        path = f"/sessions/{segment(resume.thread_id)}{below}"
        both = "&".join(filter(None, (query, self._db)))
        return f"{path}?{both}" if both else path


def _run(resume: Resume, place: Place) -> str:
    return f"{place.path}?session_id={segment(resume.thread_id)}"


def _place(started: Started[AgnoContext]) -> Place | None:
    """Return the location of a run; None if only its id is known."""
    place = started.context.place
    return place if place is not None and place.run_id == started.run_id else None


def _places(runs: Any) -> tuple[list[Place], list[Place]]:
    """Return the running and the paused runs, oldest first, without those that are part of another run.

    Raises `UpstreamUnrecognised` for a run of no agent, team or workflow.
    """
    running: list[Place] = []
    paused: list[Place] = []
    for run in sorted(runs, key=lambda run: str(run.get("created_at"))):
        key = next((name for name in _COMPONENTS if run.get(name)), None)
        if key is None:
            raise UpstreamUnrecognised("A run of the session belongs to no agent, team or workflow.")
        place = Place(_COMPONENTS[key], str(run[key]), str(run["run_id"]), run.get("created_at"))
        if not run.get("parent_run_id"):
            (running if run.get("status") in _RUNNING else paused).append(place)
    return running, paused


def _busy(place: Place) -> Found[AgnoContext]:
    return Found("busy", agent_id=place.component, run_id=place.run_id, context=AgnoContext(place=place))


def _runs_named_by(resume: Resume, runs: list[Paused]) -> list[Paused]:
    """Return the runs whose questions the client names, or else all runs."""
    body = resume.body
    pinned = body.interrupt_id
    names = {pinned} if pinned is not None else set(body.input) if isinstance(body.input, dict) else set()
    matching = [run for run in runs if names and names <= {question.id for question in run.questions}]
    return matching or runs


def _found(runs: list[Paused], *, must_ask: bool) -> Found[AgnoContext]:
    interrupts = tuple(question.interrupt for run in runs for question in run.questions)
    expired = any(run.expired for run in runs)
    if must_ask and not interrupts and not expired:
        raise ThreadNotInterrupted(
            f"Run {runs[0].place.run_id} is paused without a question that a resume could answer: it waits for an "
            "administrator's approval, or for a decision about a step that failed. AgentOS accepts such a decision at "
            "another route.",
            {"thread_status": "interrupted"},
        )
    return Found(
        "interrupted",
        interrupts,
        breakpoint=not interrupts,
        agent_id=runs[-1].place.component,
        run_id=runs[-1].place.run_id,
        context=AgnoContext(tuple(runs)),
    )


def _answers(verdict: Decision) -> Mapping[str | None, Any]:
    return verdict.by_id if isinstance(verdict, Answers) else {}


def _answered(found: Found[AgnoContext], verdict: Decision) -> list[Paused]:
    """Return the runs that the verdict answers; without answers, those whose question has expired."""
    answers = _answers(verdict)
    return [
        run
        for run in found.context.paused
        if any(question.id in answers for question in run.questions) or (not answers and run.expired)
    ]


def _refuse_agent(wanted: str, paused: list[Place]) -> Steps[None]:
    """Raise an error for `agent_id`: `AgentNotFound`, or `InvalidRequest` for another agent than the one that asks."""
    answers = yield from Ask(tuple(Request.get(f"/{kind}/{segment(wanted)}") for kind in _COMPONENTS.values()))
    if all(answer.status == 404 for answer in answers):
        raise AgentNotFound(f"The backend has no agent, team or workflow {wanted!r}: leave `agent_id` out.")
    for answer in answers:
        if not answer.ok and answer.status != 404:
            raise read_refusal(answer)
    raise InvalidRequest(
        f"The question belongs to {paused[-1].component!r}, not to {wanted!r}: leave `agent_id` out.",
        {"field": "agent_id"},
    )
