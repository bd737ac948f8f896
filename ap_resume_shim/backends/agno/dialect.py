"""AgentOS, Agno's server: agents, teams and workflows, told apart by the runs of the session.

An agent or a team takes a resume at any time: it runs an approved tool again, in a copy of the run if that has ended
(agno 3.1.10), and for as long as it does so the run looks paused. With `background` it says first that it is
running; so that is how every resume is sent. Workflows say so in any case, and know no other way.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ap_resume_shim.backends.agno.questions import QUESTION_ID, AgnoQuestion, current_step, has_expired, questions_of
from ap_resume_shim.backends.agno.stream import AgnoStream, plain_name, text_of
from ap_resume_shim.core import sse, strictjson
from ap_resume_shim.core.dialect import Answers, Decision, Dialect, Fingerprint, Found, Lookup, Started
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
from ap_resume_shim.core.http import Request, Response, segment
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


@dataclass(frozen=True, slots=True)
class Place:
    """Where a run is."""

    kind: str
    component: str
    run_id: str
    created_at: str | None = None

    @property
    def path(self) -> str:
        """Of the run."""
        return f"/{self.kind}/{segment(self.component)}/runs/{segment(self.run_id)}"


@dataclass(frozen=True, slots=True)
class Paused:
    """A run that is paused, and what it asks."""

    place: Place
    run: dict[str, Any]
    questions: tuple[AgnoQuestion, ...]
    expired: bool
    """Whether its question has come to its time: the server goes on as the step says, whatever the answer is."""

    def fields(self, answers: Mapping[str | None, Any]) -> dict[str, str]:
        """The questions as the server told them, with the answers in them; all of them, for what lacks is rejected."""
        answered = {each.id: each.answered(answers[each.id]) for each in self.questions if each.id in answers}
        if not answered:
            return {}
        if self.place.kind == "agents":
            return {"tools": _text([requirement["tool_execution"] for requirement in answered.values()])}
        if self.place.kind == "teams":
            return {"requirements": _text(list(answered.values()))}
        step = current_step(self.run)
        if step.get("requires_executor_input"):
            asked = [answered.get(each["id"], each) for each in step["executor_requirements"]]
            step = {**step, "executor_requirements": asked}
        else:
            (step,) = answered.values()
        return {"step_requirements": _text([*self.run["step_requirements"][:-1], step])}


@dataclass(frozen=True, slots=True)
class AgnoContext:
    """The runs that a lookup found."""

    paused: tuple[Paused, ...] = ()
    """Those whose questions show; of a resume that was prepared, the one that it answers."""
    place: Place | None = None
    """Where the thread's run is, once it is known which one that is."""


class Agno(Dialect[AgnoContext]):
    """`POST /{agents|teams|workflows}/{id}/runs/{run_id}/continue`, a form: the questions, with the answers in them."""

    name = "agno"
    family = "a form to the run that is paused"
    thread_is = "The session's id, any string."
    response_kinds = {Mode.BACKGROUND: "events", Mode.WAIT: "events", Mode.STREAM: "events"}
    fingerprints = (
        Fingerprint(info={"/agno_version": None}),
        Fingerprint(openapi=frozenset({f"POST /{kind}/{{}}/runs/{{}}/continue" for kind in ("agents", "teams")})),
    )
    options = {"db_id": "the database of the sessions, where AgentOS has several of them"}
    limits = (
        "A run of an agent or a team that another client continues without `background=true` looks paused while it "
        "runs: a resume in that moment would run its tools a second time.",
        "A workflow lives no longer than the request that resumes it: it is cancelled when the shim is stopped.",
        "What waits for an administrator's approval, or for what to do about a step that failed, is 409: AgentOS takes "
        "such a decision at a place of its own.",
        "Of the runs in its durable queue, AgentOS lets only those of agents and teams be resumed, and only those that "
        "were started as a stream; the others are 422.",
    )
    unsupported = frozenset({"webhook", "config"})
    interrupt_id_form = QUESTION_ID
    partial = False
    """What is not answered is rejected."""

    def __init__(self, *, db_id: str = "") -> None:
        """`db_id`: which of several databases has the sessions."""
        self._db = f"db_id={segment(db_id)}" if db_id else ""

    def lookup(self, resume: Resume, *, agent: bool = True) -> Lookup[AgnoContext]:
        """The session's runs that are not over; then those that are paused, each with what it asks."""
        (listed,) = yield from Ask((Request.get(self._session(resume, "/runs", _OPEN)),))
        if listed.status == 400 and "db_id" in listed.text:
            raise UpstreamUnrecognised(
                "AgentOS has several databases: tell the shim with the option `db_id` which one has the sessions."
            )
        running, paused = _places(read_lookup(listed))
        if running:
            return _busy(running[-1])
        wanted = resume.body.agent_id if agent else None
        places = [place for place in paused if wanted in (None, place.component)]
        if paused and not places:
            yield from _refuse_agent(str(wanted), paused)
        if not places:
            return Found("idle", context=AgnoContext())
        answers = yield from Ask(tuple(Request.get(_run(resume, place)) for place in places))
        runs = []
        for place, answer in zip(places, answers, strict=True):
            run = read_lookup(answer)
            if run.get("status") in _RUNNING:  # it was paused when the runs were listed
                return _busy(place)
            expired = has_expired(current_step(run), resume.now)
            runs.append(Paused(place, run, questions_of(run, resume.now), expired))
        return _found(_named(resume, runs) if agent else runs, agent=agent)

    def check(self, resume: Resume, found: Found[AgnoContext], verdict: Decision) -> None:
        """Answers of one run, each as its question takes it."""
        runs = _answered(found, verdict)
        if len(runs) > 1:
            raise MultipleInterrupts(
                "These are questions of several runs: answer those of one run at a time.", found.interrupts
            )
        runs[0].fields(_answers(verdict))

    def prepare(
        self, resume: Resume, found: Found[AgnoContext], verdict: Decision
    ) -> Steps[tuple[Found[AgnoContext], Decision]]:
        """From here on it is about one run."""
        yield from ()
        (run,) = _answered(found, verdict)
        asked = tuple(question.interrupt for question in run.questions)
        return replace(
            found,
            interrupts=asked,
            agent_id=run.place.component,
            run_id=run.place.run_id,
            context=AgnoContext((run,), run.place),
        ), verdict

    def resume(self, resume: Resume, found: Found[AgnoContext], verdict: Decision) -> Request:
        """Agents and teams in the background: the run is recorded as running before its first event, and goes on."""
        (run,) = found.context.paused
        fields = {"session_id": resume.thread_id, "stream": "true"}
        if run.place.kind != "workflows":
            fields["background"] = "true"
        fields |= run.fields(_answers(verdict))
        return Request.form(f"{run.place.path}/continue", fields, "text/event-stream")

    def refusal(self, response: Response) -> ResumeError:
        """Workflows say 409 for a run that is not paused; agents and teams nothing at all."""
        return read_refusal(response, _RULES)

    def refused(self, resume: Resume, response: Response) -> ResumeError | None:
        """A failure before any other event."""
        first = sse.first_event(response.body)
        told = first.json if first is not None else None
        if not isinstance(told, dict) or plain_name(told) not in ("RunError", "WorkflowError"):
            return None
        text = text_of(told)
        if any(phrase in text.lower() for phrase in _NOT_PAUSED):
            return quoting(ThreadNotInterrupted, "The backend says that the run is not paused", text)
        if "unresolved" in text.lower():
            return quoting(InvalidRequest, "The backend says that the answer is none", text)
        return quoting(UpstreamError, "The backend failed before the run went on", text)

    def started(
        self, response: Response, body: bytes, resume: Resume, found: Found[AgnoContext]
    ) -> Started[AgnoContext] | None:
        """The run that was paused goes on."""
        (run,) = found.context.paused
        return Started(run.place.run_id, run.place.component, run.place.created_at, context=found.context)

    def cancel(self, resume: Resume, started: Started[AgnoContext]) -> Request | None:
        """Leaving its stream stops a workflow alone."""
        place = started.context.place
        return None if place is None else Request("POST", f"{place.path}/cancel")

    def join(self, resume: Resume, started: Started[AgnoContext]) -> Request | None:
        """What AgentOS calls to resume: all the run's events again, then those to come."""
        place = _place(started)
        fields = {"session_id": resume.thread_id}
        return None if place is None else Request.form(f"{place.path}/resume", fields, "text/event-stream")

    def location(self, resume: Resume, started: Started[AgnoContext]) -> str | None:
        """`/{agents|teams|workflows}/{id}/runs/{run_id}`, which needs the session's id too."""
        place = _place(started)
        return None if place is None else _run(resume, place)

    def run(self, resume: Resume, started: Started[AgnoContext]) -> Request | None:
        """The run itself."""
        place = _place(started)
        return None if place is None else Request.get(_run(resume, place))

    def has_ended(self, response: Response) -> bool:
        """Neither running nor waiting for its turn."""
        run = response.json
        return not isinstance(run, dict) or run.get("status") not in _RUNNING

    def delete(self, resume: Resume) -> Request | None:
        """The session, with all its runs."""
        return Request("DELETE", self._session(resume))

    def reframer(self, resume: Resume, started: Started[AgnoContext]) -> Reframer:
        """Its events are of its own kind."""
        return AgnoStream(Emitter(resume.body.stream_modes), started.run_id, resume.now)

    def _session(self, resume: Resume, below: str = "", query: str = "") -> str:
        path = f"/sessions/{segment(resume.thread_id)}{below}"
        both = "&".join(filter(None, (query, self._db)))
        return f"{path}?{both}" if both else path


def _run(resume: Resume, place: Place) -> str:
    return f"{place.path}?session_id={segment(resume.thread_id)}"


def _place(started: Started[AgnoContext]) -> Place | None:
    """Where a run is; of one that is known by its id alone, it cannot be told."""
    place = started.context.place
    return place if place is not None and place.run_id == started.run_id else None


def _places(listed: Any) -> tuple[list[Place], list[Place]]:
    """Runs that are running, and runs that are paused; without those that are part of another."""
    running: list[Place] = []
    paused: list[Place] = []
    for run in sorted(listed, key=lambda run: str(run.get("created_at"))):
        named = next((name for name in _COMPONENTS if run.get(name)), None)
        if named is None:
            raise UpstreamUnrecognised("A run of the session is one of no agent, team or workflow.")
        place = Place(_COMPONENTS[named], str(run[named]), str(run["run_id"]), run.get("created_at"))
        if not run.get("parent_run_id"):
            (running if run.get("status") in _RUNNING else paused).append(place)
    return running, paused


def _busy(place: Place) -> Found[AgnoContext]:
    return Found("busy", agent_id=place.component, run_id=place.run_id, context=AgnoContext(place=place))


def _named(resume: Resume, runs: list[Paused]) -> list[Paused]:
    """Of several runs the one whose questions the client names."""
    body = resume.body
    pinned = body.interrupt_id
    names = {pinned} if pinned is not None else set(body.input) if isinstance(body.input, dict) else set()
    named = [run for run in runs if names and names <= {question.id for question in run.questions}]
    return named or runs


def _found(runs: list[Paused], *, agent: bool) -> Found[AgnoContext]:
    asked = tuple(question.interrupt for run in runs for question in run.questions)
    expired = any(run.expired for run in runs)
    if agent and not asked and not expired:
        raise ThreadNotInterrupted(
            f"Run {runs[0].place.run_id} is paused, but asks nothing that a resume could answer: it waits for an "
            "administrator's approval, or for what to do about a step that failed. AgentOS takes such a decision at a "
            "place of its own.",
            {"thread_status": "interrupted"},
        )
    return Found(
        "interrupted",
        asked,
        breakpoint=not asked,
        agent_id=runs[-1].place.component,
        run_id=runs[-1].place.run_id,
        context=AgnoContext(tuple(runs)),
    )


def _answers(verdict: Decision) -> Mapping[str | None, Any]:
    return verdict.by_id if isinstance(verdict, Answers) else {}


def _answered(found: Found[AgnoContext], verdict: Decision) -> list[Paused]:
    """The runs whose questions are answered; or whose question has expired."""
    answers = _answers(verdict)
    return [
        run
        for run in found.context.paused
        if any(question.id in answers for question in run.questions) or (not answers and run.expired)
    ]


def _refuse_agent(wanted: str, paused: list[Place]) -> Steps[None]:
    """Another agent than the one that asks cannot go on with its run."""
    answers = yield from Ask(tuple(Request.get(f"/{kind}/{segment(wanted)}") for kind in _COMPONENTS.values()))
    if all(answer.status == 404 for answer in answers):
        raise AgentNotFound(f"The backend has no agent, team or workflow {wanted!r}: leave `agent_id` out.")
    for answer in answers:
        if not answer.ok and answer.status != 404:
            raise read_refusal(answer)
    raise InvalidRequest(
        f"The question is one of {paused[-1].component!r}, not of {wanted!r}: leave `agent_id` out.",
        {"field": "agent_id"},
    )


def _text(value: Any) -> str:
    return strictjson.dumps(value).decode()
