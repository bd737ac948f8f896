"""ACP, the Agent Communication Protocol of IBM and BeeAI: a run that waits is resumed with a message.

Its server checks next to nothing. `await_request` stays on a run that was answered, and a resume of a run that does
not wait is taken: it answers the next question instead, or hangs for ever (acp-sdk 1.0.3). So the
status alone decides here.

A run belongs to a session, and a session does not tell its runs: they are known from the traffic that passed.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from ap_resume_shim.backends.acp import messages as wire
from ap_resume_shim.backends.acp.messages import AcpContext
from ap_resume_shim.backends.acp.observer import AcpObserver, seen_runs
from ap_resume_shim.backends.acp.stream import AcpStream
from ap_resume_shim.core import sse
from ap_resume_shim.core.dialect import Continue, Decision, Dialect, Fingerprint, Found, Lookup, Observer, Started
from ap_resume_shim.core.dialect_helpers import error_text, quoting, read_lookup, read_refusal
from ap_resume_shim.core.errors import (
    AgentNotFound,
    ConfigurationError,
    InvalidRequest,
    MultipleInterrupts,
    ResumeError,
    ThreadNotInterrupted,
    UpstreamError,
)
from ap_resume_shim.core.event_emitter import Emitter
from ap_resume_shim.core.http import Request, Response, segment
from ap_resume_shim.core.json_values import is_uuid
from ap_resume_shim.core.protocol import Mode, Resume
from ap_resume_shim.core.reframer import Ended, Reframer
from ap_resume_shim.core.steps import Ask, Entry, ReadLedger, Steps

_MODES = {Mode.BACKGROUND: "async", Mode.WAIT: "sync", Mode.STREAM: "stream"}


class Acp(Dialect[AcpContext]):
    """`POST /runs/{run_id}` with `await_resume`."""

    name = "acp"
    family = "a message to the run that waits"
    thread_is = "The session's id, a UUID; with the option `thread=run`, the id of the run itself."
    fingerprints = (Fingerprint(openapi=frozenset({"POST /runs/{}", "/runs/{}/events", "/sessions/{}", "/agents/{}"})),)
    options = {"thread": "what `thread_id` names: `session`, or `run`"}
    limits = (
        "A session does not tell its runs: by session, only those can be resumed that were started through the shim.",
        "Of several runs of a session that wait, one is answered by each resume.",
        "`on_disconnect: cancel` ends the run, but the agent's own code goes on to what it says next.",
    )
    unsupported = frozenset({"webhook", "config", "on_completion"})
    interrupt_id_form = wire.QUESTION_ID
    commit = "with_answer"
    """The server stores `in-progress` before it answers, in every mode (acp-sdk 1.0.3, `app.py`, `resume_run`)."""

    def __init__(self, *, thread: str = "session") -> None:
        """`thread`: what `thread_id` names. Not both at once, since a run must not be held under two names."""
        if thread not in ("session", "run"):
            raise ConfigurationError(f"The option `thread` of the backend 'acp' is session or run, not {thread!r}.")
        self._by_session = thread == "session"

    def thread_key(self, thread_id: str) -> str:
        """The server takes upper case and missing dashes for the same id."""
        if not is_uuid(thread_id):
            raise InvalidRequest("`thread_id` is not a UUID, which sessions and runs are named by.")
        return thread_id.replace("-", "").lower()

    def lookup(self, resume: Resume, *, agent: bool = True) -> Lookup[AcpContext]:
        """The run; or all runs of the session that were seen, and not seen to end."""
        wanted = resume.body.agent_id if agent else None
        entries = (yield from ReadLedger()) if self._by_session else [Entry({"run_id": resume.thread_id})]
        seen = seen_runs(entries)
        paths = [wire.run_path(run_id) for run_id, over in seen.items() if not over]
        requests = [Request.get(path) for path in paths or [f"/sessions/{segment(resume.thread_id)}"]]
        if wanted is not None:
            requests.append(Request.get(f"/agents/{segment(wanted)}"))
        answers = yield from Ask(tuple(requests))
        told = answers[: len(paths) or 1]
        there = [answer for answer in told if answer.status != 404]  # runs are forgotten after an hour
        runs = [read_lookup(answer) for answer in there or told[:1]]
        if wanted is not None:
            _know_agent(answers[-1], wanted)
        if paths:
            return wire.find(runs) if agent else wire.at_rest(runs)
        if agent and not seen:
            raise ThreadNotInterrupted(
                f"No run of session {resume.thread_id} that could wait for an answer has passed the shim, and the "
                "backend does not tell which runs a session has: start them through the shim.",
                {"thread_status": "unknown"},
            )
        return Found("idle", context=AcpContext())

    def check(self, resume: Resume, found: Found[AcpContext], verdict: Decision) -> None:
        """One answer, for a run of the agent that was named, in a message."""
        if len(_answers(verdict)) > 1:
            raise MultipleInterrupts(
                "Each of these questions is one of a run of its own: answer one of them at a time.", found.interrupts
            )
        agent, wanted = _run_of(found, verdict)["agent_name"], resume.body.agent_id
        if wanted not in (None, agent):
            raise InvalidRequest(
                f"The question is one of agent {agent!r}, not of {wanted!r}. Leave `agent_id` out.",
                {"field": "agent_id"},
            )
        _parts(resume, verdict)

    def prepare(
        self, resume: Resume, found: Found[AcpContext], verdict: Decision
    ) -> Steps[tuple[Found[AcpContext], Decision]]:
        """From here on it is about one run."""
        yield from ()
        run = _run_of(found, verdict)
        return replace(
            found, run_id=run["run_id"], agent_id=run["agent_name"], context=AcpContext(resumed=run)
        ), verdict

    def resume(self, resume: Resume, found: Found[AcpContext], verdict: Decision) -> Request:
        """The specification wants `run_id` in the body as well; the server of acp-sdk reads that of the path."""
        run_id = found.context.resumed["run_id"]
        message = {"role": "user", "parts": _parts(resume, verdict)}
        body = {"run_id": run_id, "await_resume": {"type": "message", "message": message}, "mode": _MODES[resume.mode]}
        accept = "text/event-stream" if resume.mode is Mode.STREAM else "application/json"
        return Request.post(wire.run_path(run_id), body, accept)

    def refusal(self, response: Response) -> ResumeError:
        """403 is said of a run that never waited, which has nothing to do with credentials."""
        text = error_text(response)
        if response.status == 403 and ("await request" in text or "expecting resume" in text):
            return quoting(ThreadNotInterrupted, "The backend says that nothing is asked", text, "Read the thread.")
        return read_refusal(response)

    def refused(self, resume: Resume, response: Response) -> ResumeError | None:
        """Events have no names: their `type` is in the data."""
        first = sse.first_event(response.body) if resume.mode is Mode.STREAM else None
        told = first.json if first is not None else None
        if not isinstance(told, dict) or told.get("type") != "error":
            return None
        return UpstreamError("The backend refused the resume in its stream.", {"upstream": told.get("error")})

    def started(
        self, response: Response, body: bytes, resume: Resume, found: Found[AcpContext]
    ) -> Started[AcpContext] | None:
        """The run that waited goes on, under its own name."""
        run = found.context.resumed
        told = Response(200, (), body).json or {}
        ids = run["run_id"], run["agent_name"]
        return Started(*ids, run.get("created_at"), told.get("finished_at"), context=found.context)

    def cancel(self, resume: Resume, started: Started[AcpContext]) -> Request | None:
        """Leaving a wait or a stream stops nothing."""
        return Request.post(wire.run_path(started.run_id) + "/cancel")

    def location(self, resume: Resume, started: Started[AcpContext]) -> str | None:
        """`/runs/{run_id}`."""
        return wire.run_path(started.run_id)

    def run(self, resume: Resume, started: Started[AcpContext]) -> Request | None:
        """The run itself."""
        return Request.get(wire.run_path(started.run_id))

    def has_ended(self, response: Response) -> bool:
        """Over, or waiting again."""
        return wire.status_of(response.json) != "busy"

    def ended(self, body: bytes) -> Ended:
        """The answer to a resume that is waited for is the run, as it stopped."""
        return wire.ended(Response(200, (), body).json)

    def reframer(self, resume: Resume, started: Started[AcpContext]) -> Reframer:
        """Its events are of its own kind."""
        return AcpStream(Emitter(resume.body.stream_modes), started.agent_id or "")

    def watch(self, method: str, path: str) -> Observer | None:
        """Who starts or resumes a run is told its id and its session's."""
        if not self._by_session or method != "POST" or not re.fullmatch("/runs(/[^/]+)?", path):
            return None
        return AcpObserver(resumed=path != "/runs")


def _know_agent(answer: Response, wanted: str) -> None:
    if answer.status == 404:
        raise AgentNotFound(f"The backend knows no agent {wanted!r}: leave `agent_id` out to use the run's own.")
    read_lookup(answer)


def _answers(verdict: Decision) -> dict[str | None, Any]:
    assert not isinstance(verdict, Continue), "there are neither breakpoints nor steps that could be retried"
    return verdict.by_id


def _run_of(found: Found[AcpContext], verdict: Decision) -> dict[str, Any]:
    (question,) = _answers(verdict)
    return found.context.asking[question]


def _parts(resume: Resume, verdict: Decision) -> list[dict[str, Any]]:
    body = resume.body
    if body.messages is not None and not body.has_input:
        return wire.parts_of_messages([message.model_dump(exclude_unset=True) for message in body.messages])
    (value,) = _answers(verdict).values()
    return [wire.part(value)]
