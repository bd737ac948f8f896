"""ACP, the Agent Communication Protocol of IBM and BeeAI: a waiting run is resumed with a message.

The server checks almost nothing (acp-sdk 1.0.3). `await_request` stays on a run that was answered. The server accepts
a resume of a run that does not wait: it answers the next question instead, or hangs for ever. So the shim relies on
the run's status alone.

A run belongs to a session, but the server does not list the runs of a session. The ledger stores them from the traffic
through the shim.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from ap_resume_shim.backends.acp import messages as wire
from ap_resume_shim.backends.acp.conventions import AwaitResume
from ap_resume_shim.backends.acp.messages import AcpContext
from ap_resume_shim.backends.acp.observer import AcpObserver, runs_in_ledger
from ap_resume_shim.backends.acp.stream import AcpStream
from ap_resume_shim.core import sse
from ap_resume_shim.core.dialect import Continue, Decision, Dialect, Found, Lookup, Observer, Started
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
from ap_resume_shim.core.fingerprint import Fingerprint
from ap_resume_shim.core.http import Request, Response, segment
from ap_resume_shim.core.json_values import uuid_key
from ap_resume_shim.core.protocol import Mode, Resume
from ap_resume_shim.core.reframer import Ended, Reframer
from ap_resume_shim.core.steps import Ask, Entry, ReadLedger, Steps
from ap_resume_shim.core.vendor_resume import VendorResume

_MODES = {Mode.BACKGROUND: "async", Mode.WAIT: "sync", Mode.STREAM: "stream"}


class Acp(Dialect[AcpContext]):
    """`POST /runs/{run_id}` with `await_resume`."""

    name = "acp"
    family = "a message to the waiting run"
    thread_is = "The session's id, a UUID; with the option `thread=run`, the id of the run itself."
    fingerprints = (Fingerprint(openapi=frozenset({"POST /runs/{}", "/runs/{}/events", "/sessions/{}", "/agents/{}"})),)
    options = {"thread": "meaning of `thread_id`: `session` or `run`; default: `session`"}
    limits = (
        "The server does not list the runs of a session: only runs that were started through the shim can be resumed.",
        "If several runs of a session wait, a resume answers one of them.",
        "`on_disconnect: cancel` ends the run, but the agent's code continues until its next message.",
    )
    unlisted = "ACP has no request that lists runs: read a session by its id."
    unsupported = frozenset({"webhook", "config", "on_completion"})
    interrupt_id_form = wire.QUESTION_ID
    commit = "with_answer"
    """The server stores `in-progress` before it responds, in every mode (acp-sdk 1.0.3, `app.py`, `resume_run`)."""

    def __init__(self, *, thread: str = "session") -> None:
        """`thread` is the meaning of `thread_id`. It has one meaning, so that a run is not held under two ids.

        Raises `ConfigurationError` for another value than `session` and `run`.
        """
        if thread not in ("session", "run"):
            raise ConfigurationError(f"The option `thread` of the backend 'acp' is session or run, not {thread!r}.")
        self._by_session = thread == "session"
        self.conventions = (AwaitResume(run_is_thread=not self._by_session),)

    def thread_key(self, thread_id: str) -> str:
        """Return the id in one spelling. Raises `InvalidRequest` for an id that is not a UUID."""
        return uuid_key(thread_id, "sessions and runs")

    def inspect_thread(self, resume: Resume, *, full: bool = True) -> Lookup[AcpContext]:
        """Read the run, or all runs of the session that the ledger has, except those that have ended.

        A client that names a run means that one, whatever the ledger has.
        """
        requested = resume.body.agent_id if full else None
        run_id = resume.run_id if self._by_session else resume.thread_id
        entries = (yield from ReadLedger()) if run_id is None else [Entry({"run_id": run_id})]
        known = runs_in_ledger(entries)
        paths = [wire.run_path(run_id) for run_id, over in known.items() if not over]
        requests = [Request.get(path) for path in paths or [f"/sessions/{segment(resume.thread_id)}"]]
        if requested is not None:
            requests.append(Request.get(f"/agents/{segment(requested)}"))
        answers = yield from Ask(tuple(requests))
        responses = answers[: len(paths) or 1]
        found = [answer for answer in responses if answer.status != 404]  # the server drops runs after an hour
        runs = [read_lookup(answer) for answer in found or responses[:1]]
        if requested is not None:
            _check_agent(answers[-1], requested)
        if paths:
            return wire.find(runs) if full else wire.at_rest(runs)
        if full and not known:
            raise ThreadNotInterrupted(
                f"No run of session {resume.thread_id} that could wait for an answer has passed through the shim, and "
                "the backend cannot list the runs of a session: start them through the shim.",
                {"thread_status": "unknown"},
            )
        return Found("idle", context=AcpContext())

    def check(self, resume: Resume, found: Found[AcpContext], verdict: Decision) -> None:
        """Refuse several answers, another agent, and messages that ACP cannot carry."""
        if len(_answers(verdict)) > 1:
            raise MultipleInterrupts(
                "Each of these questions belongs to another run: answer one of them at a time.", found.interrupts
            )
        agent, requested = _run_of(found, verdict)["agent_name"], resume.body.agent_id
        if requested not in (None, agent):
            raise InvalidRequest(
                f"The question belongs to agent {agent!r}, not to {requested!r}. Leave `agent_id` out.",
                {"field": "agent_id"},
            )
        _parts(resume, verdict)

    def prepare(
        self, resume: Resume, found: Found[AcpContext], verdict: Decision
    ) -> Steps[tuple[Found[AcpContext], Decision]]:
        """Select the run that is resumed."""
        yield from ()
        run = _run_of(found, verdict)
        return replace(
            found, run_id=run["run_id"], agent_id=run["agent_name"], context=AcpContext(resumed=run)
        ), verdict

    def resume(self, resume: Resume, found: Found[AcpContext], verdict: Decision) -> Request:
        """Build the request. The specification requires `run_id` in the body, too; acp-sdk reads it from the path."""
        run_id = found.context.resumed["run_id"]
        message = {"role": "user", "parts": _parts(resume, verdict)}
        body = {"run_id": run_id, "await_resume": {"type": "message", "message": message}, "mode": _MODES[resume.mode]}
        accept = "text/event-stream" if resume.mode is Mode.STREAM else "application/json"
        return Request.post(wire.run_path(run_id), body, accept)

    def refusal(self, response: Response) -> ResumeError:
        """Read an error status. A 403 with a text about the await means a run that never waited, not credentials."""
        text = error_text(response)
        if response.status == 403 and ("await request" in text or "expecting resume" in text):
            return quoting(
                ThreadNotInterrupted, "The backend reports that no question is pending", text, "Read the thread."
            )
        return read_refusal(response)

    def refused(self, resume: Resume, response: Response) -> ResumeError | None:
        """Return the error if the first event is one. Events have no names; their `type` is in the data."""
        first = sse.first_event(response.body) if resume.mode is Mode.STREAM else None
        event = first.json if first is not None else None
        if not isinstance(event, dict) or event.get("type") != "error":
            return None
        return UpstreamError("The backend refused the resume in its stream.", {"upstream": event.get("error")})

    def started(
        self, response: Response, body: bytes, resume: Resume, found: Found[AcpContext]
    ) -> Started[AcpContext] | None:
        """Return the run that waited; its id does not change."""
        run = found.context.resumed
        upstream_run = Response(200, (), body).json or {}
        ids = run["run_id"], run["agent_name"]
        return Started(*ids, run.get("created_at"), upstream_run.get("finished_at"), context=found.context)

    def cancel(self, resume: Resume, started: Started[AcpContext]) -> Request | None:
        """Cancel the run; the run continues when its client disconnects."""
        return Request.post(wire.run_path(started.run_id) + "/cancel")

    def location(self, resume: Resume, started: Started[AcpContext]) -> str | None:
        """`/runs/{run_id}`."""
        return wire.run_path(started.run_id)

    def run(self, resume: Resume, started: Started[AcpContext]) -> Request | None:
        """Read the run."""
        return Request.get(wire.run_path(started.run_id))

    def has_ended(self, response: Response) -> bool:
        """True if the run is over or waits again."""
        return wire.status_of(response.json) != "busy"

    def ended(self, body: bytes) -> Ended:
        """Read the response of a wait, which is the run."""
        return wire.ended(Response(200, (), body).json)

    def reframer(self, resume: Resume, started: Started[AcpContext]) -> Reframer:
        """Convert ACP's events to the draft's events."""
        return AcpStream(Emitter(resume.body.stream_modes), started.agent_id or "")

    def locate(self, vendor: VendorResume) -> Steps[str]:
        """Read the run, which has the id of its session."""
        (answer,) = yield from Ask((Request.get(wire.run_path(str(vendor.run_id))),))
        return str(read_lookup(answer)["session_id"])

    def watch(self, method: str, path: str) -> Observer | None:
        """Observe requests that start or resume a run; their responses contain the ids of run and session."""
        if not self._by_session or method != "POST" or not re.fullmatch("/runs(/[^/]+)?", path):
            return None
        return AcpObserver(resumed=path != "/runs")


def _check_agent(answer: Response, wanted: str) -> None:
    if answer.status == 404:
        raise AgentNotFound(f"The backend has no agent {wanted!r}: leave `agent_id` out to use the run's own.")
    read_lookup(answer)


def _answers(verdict: Decision) -> dict[str | None, Any]:
    assert not isinstance(verdict, Continue), "ACP has neither breakpoints nor retries"
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
