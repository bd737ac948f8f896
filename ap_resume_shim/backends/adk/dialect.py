"""Google ADK's API server: a session continues with the response of a long-running function that was called.

The server refuses nothing: it accepts a second answer to a question, runs two simultaneous answers, and stores an
answer that it cannot read in the session. A run ends when its client disconnects, so the shim stays connected.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

from ap_resume_shim.backends.adk.answer import response_of
from ap_resume_shim.backends.adk.conventions import FunctionResponse
from ap_resume_shim.backends.adk.parallel import answered_together, check_together
from ap_resume_shim.backends.adk.session import AdkQuestion, Session
from ap_resume_shim.backends.adk.stream import AdkStream
from ap_resume_shim.core import sse
from ap_resume_shim.core.dialect import Continue, Decision, Dialect, Found, Lookup, Started
from ap_resume_shim.core.dialect_helpers import quoting, read_lookup, read_refusal
from ap_resume_shim.core.errors import (
    AgentNotFound,
    InterruptNotPending,
    InvalidRequest,
    MultipleInterrupts,
    ResumeError,
    ThreadNotFound,
    UnsupportedField,
    UpstreamError,
    UpstreamUnrecognised,
)
from ap_resume_shim.core.event_emitter import Emitter
from ap_resume_shim.core.fingerprint import Fingerprint
from ap_resume_shim.core.http import Request, Response, segment
from ap_resume_shim.core.interrupt import Interrupt
from ap_resume_shim.core.protocol import Mode, Resume
from ap_resume_shim.core.reframer import Reframer
from ap_resume_shim.core.steps import Ask, Steps

_USER_ID = "user_id"


@dataclass(frozen=True, slots=True)
class AdkContext:
    """The session that a lookup found, its app, and the ids of the questions that are answered."""

    app: str
    session: Session
    answering: tuple[str, ...] = ()

    @property
    def left(self) -> dict[str, AdkQuestion]:
        """The questions that stay open after the resume."""
        return {key: question for key, question in self.session.open.items() if question.id not in self.answering}


class Adk(Dialect[AdkContext]):
    """`POST /run_sse` with a `functionResponse`, in all modes: only this route shows the start and errors of a run."""

    name = "adk"
    family = "a message with the response of a function"
    thread_is = (
        "The session's id, any string. The app is the one in `agent_id`, or else the only app with that session; the "
        "user is the one in `config.configurable.user_id`, or else in the option `user_id`."
    )
    response_kinds = {Mode.BACKGROUND: "events", Mode.WAIT: "events", Mode.STREAM: "events"}
    options = {"user_id": "user of the sessions if `config.configurable.user_id` is absent; default: `user`"}
    limits = (
        "The newest event shows whether a session is running. If the server stops in the middle of a run, the session "
        "looks busy until its next message; a running session with parallel agents may look idle.",
        'A value that is no object is sent as {"result": …}, like the return value of a tool in ADK: an agent cannot '
        'distinguish 5 from {"result": 5}.',
        'The answer to a confirmation is true, false or {"confirmed", "payload"}, to a request for a credential an '
        "object, to a workflow's request for input a value that fits its schema.",
        "Answers that the server would lose are refused. Send the answers for parallel agents one by one, those for a "
        "workflow's nodes all at once, and a confirmation before other answers.",
        "With `ResumabilityConfig`, a retry does not call a tool again that failed after the answer: ADK ends the run.",
    )
    fingerprints = (Fingerprint(openapi=frozenset({"POST /run_sse", "/list-apps", "/apps/{}/users/{}/sessions/{}"})),)
    unlisted = (
        "ADK lists sessions without their questions, so each would have to be read whole: read a session by its id."
    )
    unsupported = frozenset({"webhook"})
    conventions = (FunctionResponse(),)

    def __init__(self, user_id: str = "user") -> None:
        """`user_id` is the user of the sessions, unless the body names one."""
        self._user_id = user_id

    def inspect_thread(self, resume: Resume, *, full: bool = True) -> Lookup[AdkContext]:
        """Read the session, in the app that `agent_id` names or in all apps in parallel.

        Raises `InvalidRequest` if several apps have a session with this id.
        """
        requested = resume.body.agent_id
        apps: list[str] = [requested] if requested is not None else (yield from _list_apps())
        answers = yield from Ask(tuple(Request.get(self._path(app, resume)) for app in apps))
        found = [(app, _read(answer)) for app, answer in zip(apps, answers, strict=True) if answer.status != 404]
        if not found and requested is not None and requested not in (yield from _list_apps()):
            raise AgentNotFound(f"The backend has no app {requested!r}: leave `agent_id` out to use the session's own.")
        if not found:
            raise ThreadNotFound(
                f"User {self._user(resume)!r} has no session {resume.thread_id}. Check `thread_id`, and "
                "`config.configurable.user_id`."
            )
        if len(found) > 1:
            raise InvalidRequest(
                f"Several apps have a session {resume.thread_id}: {', '.join(app for app, _ in found)}. Name one as "
                "`agent_id`.",
                {"field": "agent_id"},
            )
        return _found(*found[0])

    def refresh_thread(self, resume: Resume, before: Found[AdkContext], *, full: bool = False) -> Lookup[AdkContext]:
        """Read the session again, in the app that had it."""
        app = before.context.app
        (answer,) = yield from Ask((Request.get(self._path(app, resume)),))
        return _found(app, _read(answer))

    def answered_together(self, found: Found[AdkContext], interrupt: Interrupt) -> list[Interrupt]:
        """Return the questions that one message has to answer."""
        session = found.context.session
        question = next(each for each in session.open.values() if each.interrupt == interrupt)
        return [each.interrupt for each in answered_together(question, session)]

    def check(self, resume: Resume, found: Found[AdkContext], verdict: Decision) -> None:
        """Refuse answers to several runs, combinations that ADK would lose, and values that their questions refuse."""
        _check_config(resume)
        if resume.body.on_completion == "delete" and resume.body.agent_id is None:
            raise UnsupportedField(
                "To delete the session, the adk backend needs its app: send `agent_id` with `on_completion`.",
                {"field": "on_completion"},
            )
        questions = _questions(found, verdict)
        if len({question.invocation_id for question in questions}) > 1:
            raise MultipleInterrupts(
                "These questions belong to several runs: answer those of one run at a time.", found.interrupts
            )
        check_together(questions, found.context.session)
        _parts(found, verdict)

    def prepare(
        self, resume: Resume, found: Found[AdkContext], verdict: Decision
    ) -> Steps[tuple[Found[AdkContext], Decision]]:
        """Select the questions that are answered, and their run."""
        yield from ()
        questions = _questions(found, verdict)
        return replace(
            found,
            interrupts=tuple(question.interrupt for question in questions),
            run_id=questions[0].invocation_id if questions else found.run_id,
            context=replace(found.context, answering=tuple(question.id for question in questions)),
        ), verdict

    def resume(self, resume: Resume, found: Found[AdkContext], verdict: Decision) -> Request:
        """Build the request.

        A retry without a message continues with the contents of the session; its change of the state is an event there.
        """
        body: dict[str, Any] = {
            "appName": found.context.app,
            "userId": self._user(resume),
            "sessionId": resume.thread_id,
            "invocationId": found.run_id,
            "streaming": resume.mode is Mode.STREAM and "messages" in resume.body.stream_modes,
        }
        if parts := _parts(found, verdict) or found.context.session.to_repeat:
            body["newMessage"] = {"role": "user", "parts": parts}
        else:
            body["stateDelta"] = {"temp:went_on": True}  # the server does not store `temp:` keys
        if resume.body.metadata is not None:
            body["customMetadata"] = resume.body.metadata
        return Request.post("/run_sse", body, "text/event-stream")

    def refusal(self, response: Response) -> ResumeError:
        """Read an error status, such as 404 for a deleted session."""
        return read_refusal(response)

    def refused(self, resume: Resume, response: Response) -> ResumeError | None:
        """Return the error if it comes before any event; an error of the agent comes after an event."""
        first = sse.first_event(response.body)
        event = first.json if first is not None else None
        if not isinstance(event, dict) or "error" not in event or "author" in event:
            return None
        text = str(event["error"])
        if "Function call not found" in text:
            return quoting(
                partial(InterruptNotPending, interrupts=()), "The backend reports that the question is gone", text
            )
        return quoting(UpstreamError, "The backend failed before the agent's first event", text)

    def started(
        self, response: Response, body: bytes, resume: Resume, found: Found[AdkContext]
    ) -> Started[AdkContext] | None:
        """Return the run: the invocation that asked, which continues."""
        return Started(str(found.run_id), found.agent_id, context=found.context)

    def delete(self, resume: Resume) -> Request | None:
        """Delete the session. `check` has refused this without `agent_id`, which names the app."""
        return Request("DELETE", self._path(str(resume.body.agent_id), resume))

    def reframer(self, resume: Resume, started: Started[AdkContext]) -> Reframer:
        """Convert the stream, which consists of the session's events."""
        context = started.context
        return AdkStream(Emitter(resume.body.stream_modes), context.session, context.left)

    def _path(self, app: str, resume: Resume) -> str:
        return f"/apps/{segment(app)}/users/{segment(self._user(resume))}/sessions/{segment(resume.thread_id)}"

    def _user(self, resume: Resume) -> str:
        named = ((resume.body.config and resume.body.config.configurable) or {}).get(_USER_ID)
        if named is None:
            return self._user_id
        if not isinstance(named, str) or not named or "/" in named or named in (".", ".."):
            raise InvalidRequest("`config.configurable.user_id` is not a user id.", {"field": "config"})
        return named


def _list_apps() -> Steps[list[str]]:
    (answer,) = yield from Ask((Request.get("/list-apps"),))
    apps: list[str] = read_lookup(answer)
    return apps


def _read(answer: Response) -> Session:
    value = read_lookup(answer)
    if not isinstance(value, dict) or not isinstance(value.get("events"), list):
        raise UpstreamUnrecognised(
            "The backend's response is not an ADK session. Check that `backend` names this kind of server."
        )
    return Session(value)


def _found(app: str, session: Session) -> Found[AdkContext]:
    status = session.status
    return Found(
        status,
        interrupts=tuple(question.interrupt for question in session.open.values()),
        answered=tuple(question.interrupt for question in session.answered.values()) if status == "error" else (),
        past_ids=session.question_ids,
        agent_id=app,
        values=session.values,
        error=session.error,
        updated_at=None if session.updated is None else datetime.fromtimestamp(session.updated, UTC).isoformat(),
        run_id=session.invocation_id,
        context=AdkContext(app, session),
    )


def _questions(found: Found[AdkContext], verdict: Decision) -> list[AdkQuestion]:
    """Return the questions that the verdict answers."""
    answers = {} if isinstance(verdict, Continue) else verdict.by_id
    return [question for question in found.context.session.open.values() if question.id in answers]


def _parts(found: Found[AdkContext], verdict: Decision) -> list[dict[str, Any]]:
    """Return the parts of the message: each answer as the response of the function that was called."""
    answers = {} if isinstance(verdict, Continue) else verdict.by_id
    return [
        {
            "functionResponse": {
                "id": question.call_id,
                "name": question.name,
                "response": response_of(question, answers[question.id]),
            }
        }
        for question in _questions(found, verdict)
    ]


def _check_config(resume: Resume) -> None:
    """Raise `UnsupportedField` for any other part of `config` than the user."""
    config = resume.body.config
    if config is None:
        return
    names = set(config.model_dump(exclude_none=True)) - {"configurable"} | set(config.configurable or {}) - {_USER_ID}
    if names:
        raise UnsupportedField(
            f"The adk backend cannot honour `{min(names)}` in `config`: leave it out.", {"field": "config"}
        )
