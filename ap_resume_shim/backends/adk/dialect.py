"""Google ADK's api server: a session goes on with the response of a function that was called and runs long.

The server refuses nothing: a question that was answered is answered again, two answers at once run twice, and an
answer that it cannot read stays in the session. A run ends when its client leaves, so that the shim stays.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

from ap_resume_shim.backends.adk.answer import response_of
from ap_resume_shim.backends.adk.parallel import check_together
from ap_resume_shim.backends.adk.session import AdkQuestion, Session
from ap_resume_shim.backends.adk.stream import AdkStream
from ap_resume_shim.core import sse
from ap_resume_shim.core.dialect import Continue, Decision, Dialect, Fingerprint, Found, Lookup, Started
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
from ap_resume_shim.core.http import Request, Response, segment
from ap_resume_shim.core.protocol import Mode, Resume
from ap_resume_shim.core.reframer import Reframer
from ap_resume_shim.core.steps import Ask, Steps

_USER_ID = "user_id"


@dataclass(frozen=True, slots=True)
class AdkContext:
    """What a lookup leaves for the resume."""

    app: str
    session: Session
    answering: tuple[str, ...] = ()

    @property
    def left(self) -> dict[str, AdkQuestion]:
        """The questions that stay open."""
        return {key: question for key, question in self.session.open.items() if question.id not in self.answering}


class Adk(Dialect[AdkContext]):
    """`POST /run_sse` with a `functionResponse`, in all modes: alone it tells why it failed, and that it began."""

    name = "adk"
    family = "a message with the response of a function"
    thread_is = (
        "The session's id, any string; of the app that `agent_id` names, else of the one app that has it, and of the "
        "user that `config.configurable.user_id` names, else the option `user_id`."
    )
    response_kinds = {Mode.BACKGROUND: "events", Mode.WAIT: "events", Mode.STREAM: "events"}
    options = {"user_id": "the user of the sessions, where `config.configurable.user_id` names none; `user` by default"}
    limits = (
        "Whether a session is running is read from its newest event. One whose server died in the midst of a run looks "
        "busy until its next message; one of several agents that work side by side may look at rest.",
        'What is no object is sent as {"result": …}, as ADK does with what tools return: an agent cannot tell 5 from '
        '{"result": 5}.',
        'A confirmation is answered with true, false or {"confirmed", "payload"}, a request for a credential with '
        "an object, a workflow's request for input with what fits its schema.",
        "Answers that the server would lose are refused: those of agents side by side are sent one by one, those of a "
        "workflow's nodes all at once, a confirmation before other answers.",
        "With `ResumabilityConfig`, a retry does not call a tool again that failed after the answer: ADK ends the run.",
    )
    fingerprints = (Fingerprint(openapi=frozenset({"POST /run_sse", "/list-apps", "/apps/{}/users/{}/sessions/{}"})),)
    unsupported = frozenset({"webhook"})

    def __init__(self, user_id: str = "user") -> None:
        """`user_id`: whose sessions they are, where the body does not say it."""
        self._user_id = user_id

    def lookup(self, resume: Resume, *, agent: bool = True) -> Lookup[AdkContext]:
        """The session, in the app that is named; else in all apps, side by side."""
        wanted = resume.body.agent_id
        apps: list[str] = [wanted] if wanted is not None else (yield from _list_apps())
        answers = yield from Ask(tuple(Request.get(self._path(app, resume)) for app in apps))
        there = [(app, _read(answer)) for app, answer in zip(apps, answers, strict=True) if answer.status != 404]
        if not there and wanted is not None and wanted not in (yield from _list_apps()):
            raise AgentNotFound(f"The backend has no app {wanted!r}: leave `agent_id` out to use the session's own.")
        if not there:
            raise ThreadNotFound(
                f"User {self._user(resume)!r} has no session {resume.thread_id}. Check `thread_id`, and "
                "`config.configurable.user_id`."
            )
        if len(there) > 1:
            raise InvalidRequest(
                f"Several apps have a session {resume.thread_id}: {', '.join(app for app, _ in there)}. Name one as "
                "`agent_id`.",
                {"field": "agent_id"},
            )
        return _found(*there[0])

    def look_again(self, resume: Resume, before: Found[AdkContext], *, agent: bool = False) -> Lookup[AdkContext]:
        """The session, in the app that had it."""
        app = before.context.app
        (answer,) = yield from Ask((Request.get(self._path(app, resume)),))
        return _found(app, _read(answer))

    def check(self, resume: Resume, found: Found[AdkContext], verdict: Decision) -> None:
        """Answers of one run, each as its question takes it."""
        _check_config(resume)
        if resume.body.on_completion == "delete" and resume.body.agent_id is None:
            raise UnsupportedField(
                "To delete the session, the adk backend has to be told its app: send `agent_id` with `on_completion`.",
                {"field": "on_completion"},
            )
        questions = _questions(found, verdict)
        if len({question.invocation_id for question in questions}) > 1:
            raise MultipleInterrupts(
                "These are questions of several runs: answer those of one run at a time.", found.interrupts
            )
        check_together(questions, found.context.session)
        _parts(found, verdict)

    def prepare(
        self, resume: Resume, found: Found[AdkContext], verdict: Decision
    ) -> Steps[tuple[Found[AdkContext], Decision]]:
        """From here on it is about the questions that are answered."""
        yield from ()
        questions = _questions(found, verdict)
        return replace(
            found,
            interrupts=tuple(question.interrupt for question in questions),
            run_id=questions[0].invocation_id if questions else found.run_id,
            context=replace(found.context, answering=tuple(question.id for question in questions)),
        ), verdict

    def resume(self, resume: Resume, found: Found[AdkContext], verdict: Decision) -> Request:
        """A run without a message goes on with what the session holds; its change of the state shows there."""
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
            body["stateDelta"] = {"temp:went_on": True}  # which the server does not keep
        if resume.body.metadata is not None:
            body["customMetadata"] = resume.body.metadata
        return Request.post("/run_sse", body, "text/event-stream")

    def refusal(self, response: Response) -> ResumeError:
        """404 for a session that is gone."""
        return read_refusal(response)

    def refused(self, resume: Resume, response: Response) -> ResumeError | None:
        """An error before any event. One of the agent's is told by an event first."""
        first = sse.first_event(response.body)
        told = first.json if first is not None else None
        if not isinstance(told, dict) or "error" not in told or "author" in told:
            return None
        text = str(told["error"])
        if "Function call not found" in text:
            return quoting(
                partial(InterruptNotPending, interrupts=()), "The backend says that the question is gone", text
            )
        return quoting(UpstreamError, "The backend failed before the agent said anything", text)

    def started(
        self, response: Response, body: bytes, resume: Resume, found: Found[AdkContext]
    ) -> Started[AdkContext] | None:
        """The invocation that asked goes on."""
        return Started(str(found.run_id), found.agent_id, context=found.context)

    def delete(self, resume: Resume) -> Request | None:
        """Known where the app is."""
        return Request("DELETE", self._path(str(resume.body.agent_id), resume))

    def reframer(self, resume: Resume, started: Started[AdkContext]) -> Reframer:
        """Its events are those of the session."""
        context = started.context
        return AdkStream(Emitter(resume.body.stream_modes), context.session, context.left)

    def _path(self, app: str, resume: Resume) -> str:
        return f"/apps/{segment(app)}/users/{segment(self._user(resume))}/sessions/{segment(resume.thread_id)}"

    def _user(self, resume: Resume) -> str:
        named = ((resume.body.config and resume.body.config.configurable) or {}).get(_USER_ID)
        if named is None:
            return self._user_id
        if not isinstance(named, str) or not named or "/" in named or named in (".", ".."):
            raise InvalidRequest("`config.configurable.user_id` is not the id of a user.", {"field": "config"})
        return named


def _list_apps() -> Steps[list[str]]:
    (answer,) = yield from Ask((Request.get("/list-apps"),))
    apps: list[str] = read_lookup(answer)
    return apps


def _read(answer: Response) -> Session:
    told = read_lookup(answer)
    if not isinstance(told, dict) or not isinstance(told.get("events"), list):
        raise UpstreamUnrecognised(
            "The backend's answer is not a session of ADK's. Is it the kind of server that it says?"
        )
    return Session(told)


def _found(app: str, session: Session) -> Found[AdkContext]:
    status = session.status
    return Found(
        status,
        interrupts=tuple(question.interrupt for question in session.open.values()),
        answered=tuple(question.interrupt for question in session.taken.values()) if status == "error" else (),
        past_ids=session.question_ids,
        agent_id=app,
        values=session.values,
        error=session.error,
        updated_at=None if session.updated is None else datetime.fromtimestamp(session.updated, UTC).isoformat(),
        run_id=session.invocation_id,
        context=AdkContext(app, session),
    )


def _questions(found: Found[AdkContext], verdict: Decision) -> list[AdkQuestion]:
    """Those that are answered."""
    answers = {} if isinstance(verdict, Continue) else verdict.by_id
    return [question for question in found.context.session.open.values() if question.id in answers]


def _parts(found: Found[AdkContext], verdict: Decision) -> list[dict[str, Any]]:
    """The answers, each as the response of the function that was called."""
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
    """Of the draft's configuration the server has the user alone."""
    config = resume.body.config
    if config is None:
        return
    given = set(config.model_dump(exclude_none=True)) - {"configurable"} | set(config.configurable or {}) - {_USER_ID}
    if given:
        raise UnsupportedField(
            f"The adk backend cannot honour `{min(given)}` in `config`: leave it out.", {"field": "config"}
        )
