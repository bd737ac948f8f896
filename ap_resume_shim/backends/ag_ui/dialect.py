"""AG-UI: an endpoint that runs an agent and answers with events, and nothing else.

The protocol has no thread to look at, so that all that is known of one was seen when its runs passed
(`ag_ui_seen`). A run that resumes is a run like any other: its request says what it answers.
"""

from __future__ import annotations

from functools import partial
from typing import Any
from urllib.parse import quote

from ap_resume_shim.backends.ag_ui import messages as wire
from ap_resume_shim.backends.ag_ui.observer import SENT, SERVER, AgUiObserver, Thread
from ap_resume_shim.backends.ag_ui.stream import AgUiStream
from ap_resume_shim.core import sse
from ap_resume_shim.core.dialect import (
    Continue,
    Decision,
    Dialect,
    Fingerprint,
    Found,
    Lookup,
    Observer,
    Started,
    ThreadStatus,
)
from ap_resume_shim.core.dialect_helpers import Rule, quoting, read_refusal
from ap_resume_shim.core.errors import (
    AgentNotFound,
    InterruptNotPending,
    InvalidAnswer,
    ResumeError,
    ThreadBusy,
    ThreadNotInterrupted,
    UnsupportedField,
    UnsupportedInput,
    UpstreamError,
)
from ap_resume_shim.core.http import Request, Response
from ap_resume_shim.core.interrupt import Interrupt
from ap_resume_shim.core.protocol import Mode, Resume
from ap_resume_shim.core.reframer import Reframer
from ap_resume_shim.core.steps import Ask, ReadLedger, Steps

_RULES = (
    Rule(404, "agent_not_found"),
    Rule(405, "agent_not_found"),
    Rule(503, "thread_busy", "capacity"),  # Agent Framework's detached runs
)
_REFUSED = (401, 403, 429)
_NOT_ADMITTED = (*_REFUSED, 404, 405)


class AgUi(Dialect[Thread]):
    """`POST` to the agent's endpoint: `resume` with an entry per question, or `forwardedProps.command`."""

    name = "ag-ui"
    family = "a run's own request, which says what it answers"
    thread_is = "`threadId`: any text, made by the client that started the first run."
    response_kinds = dict.fromkeys(Mode, "events")
    fingerprints = (
        Fingerprint(openapi=frozenset({"POST <RunAgentInput>"})),
        Fingerprint(openapi=frozenset({"POST <AGUIRequest>"})),
    )
    options = {"path": "the endpoint of the agent, where others may not be resumed; without it, every one that passes"}
    limits = (
        "Only threads whose runs passed through the shim can be resumed: the protocol has no lookup.",
        "Whose thread it is cannot be asked: a question is answered with the credentials of the run that asked it.",
        "A run is stopped when its stream is left, and cannot be joined again.",
    )
    unsupported = frozenset({"webhook", "config", "on_completion"})
    reserved = frozenset({"threadId", "runId", "resume"})
    commit = "with_answer"
    """The state is the ledger's, which notes a run that resumes before anybody gets the head of its answer."""
    vocabulary = frozenset(SENT)

    def __init__(self, *, path: str = "") -> None:
        """`path`: of the agent's endpoint, such as `/agent`."""
        self._path = f"/{path.strip('/')}" if path else None

    def lookup(self, resume: Resume, *, agent: bool = True) -> Lookup[Thread]:
        """What the ledger has for this caller, if the server lets it in."""
        entries = yield from ReadLedger()
        thread = Thread.of(entries)
        path = thread.path if thread.is_known else (yield from self._endpoint())
        if agent and path is not None:
            # An empty body is no run: 422. Who may not run the agent is refused before anybody looks at the body.
            (admitted,) = yield from Ask((Request.post(_target(path), {}),))
            if admitted.status in (_NOT_ADMITTED if thread.is_known else _REFUSED):
                raise read_refusal(admitted, _RULES)
        if not (thread.is_known or agent):
            return Found(
                "busy" if thread.busy else "idle", context=thread
            )  # after a run, another caller's may have begun or asked
        if not thread.is_known:
            raise ThreadNotInterrupted(
                f"No run of thread {resume.thread_id} was seen passing here with these credentials, or it is long ago, "
                "and a server of this kind cannot be asked: start its runs through the shim, and answer with the "
                "credentials of the run that asked."
            )
        wanted = resume.body.agent_id if agent else None
        if wanted is not None and wanted != thread.path.strip("/"):
            raise AgentNotFound(
                f"The thread's runs are those of the endpoint {thread.path}, not of {wanted!r}: leave `agent_id` out."
            )
        return Found(
            status=_status(thread),
            interrupts=_shown(thread),
            answered=tuple(question.interrupt for question in thread.answered),
            past_ids=frozenset(thread.past_ids),
            agent_id=thread.path.strip("/") or None,
            error=thread.error,
            run_id=thread.run_id,
            context=thread,
        )

    def _endpoint(self) -> Steps[str | None]:
        """Where the server runs an agent, whichever: who is not let in there is refused, whatever the thread is."""
        entries = yield from ReadLedger(SERVER)
        seen = (entry.facts.get("path") for entry in entries)
        return self._path or next((path for path in seen if isinstance(path, str)), None)

    def check(self, resume: Resume, found: Found[Thread], verdict: Decision) -> None:
        """Refuse what the adapter would not take, or not deliver unchanged."""
        thread = found.context
        given = resume.body.extra.get("forwardedProps")
        if given is not None and (not isinstance(given, dict) or "command" in given):
            raise UnsupportedField(
                "`forwardedProps` is an object, whose `command` is set by the shim itself: leave it out.",
                {"field": "forwardedProps"},
            )
        if isinstance(verdict, Continue):
            return
        wire.check_answers(thread.pending, verdict.by_id)
        if thread.history is None and any(not question.keeps_history for question in thread.pending):
            raise UnsupportedInput(
                "The server keeps no messages, and those of this thread are too many for the shim to remember: resume "
                "it by a run of your own, which brings them along, or let the server keep snapshots."
            )

    def resume(self, resume: Resume, found: Found[Thread], verdict: Decision) -> Request:
        """A new run, which has what the run that asked had."""
        thread = found.context
        answers = wire.NO_ANSWER if isinstance(verdict, Continue) else wire.answer_fields(thread.pending, verdict.by_id)
        given = self.forwarded(resume)
        run = {"state": {}, "tools": [], "context": [], "forwardedProps": {}, **thread.sent, **given, **answers}
        props = [fields.get("forwardedProps") for fields in (thread.sent, given, answers)]
        run["forwardedProps"] = {name: item for each in props if each for name, item in each.items()}
        ids = {"threadId": resume.thread_id, "runId": resume.nonce}
        body = {**ids, "messages": thread.history or [], **run}
        return Request.post(_target(thread.path), body, "text/event-stream")

    def refusal(self, response: Response) -> ResumeError:
        """A body of the wrong shape is 422; all else is told in the stream."""
        return read_refusal(response, _RULES)

    def begun(self, head: bytes) -> bool:
        """Whether there is an event behind RUN_STARTED: that is the one that tells."""
        return _second(head) is not None

    def refused(self, resume: Resume, response: Response) -> ResumeError | None:
        """RUN_ERROR, where nothing came of the run before: an agent that fails has begun a step."""
        second = _second(response.body)
        if second is None or second.get("type") != "RUN_ERROR" or not wire.refuses(second):
            return None
        said = str(second.get("message") or "").rstrip(".")
        code = str(second.get("code") or "")
        kind, advice = _REFUSALS.get(code, (UpstreamError, "Look into its log."))
        told = {"upstream": {"code": code, "message": said}}
        more = {"interrupts": ()} if issubclass(kind, InterruptNotPending) else {"metadata": told}
        return quoting(partial(kind, **more), "The server refused the resume", said or code, advice)

    def started(self, response: Response, body: bytes, resume: Resume, found: Found[Thread]) -> Started[Thread] | None:
        """The client names its runs."""
        return Started(resume.nonce, found.agent_id, context=found.context)

    def reframer(self, resume: Resume, started: Started[Thread]) -> Reframer:
        """The draft's events."""
        return AgUiStream(resume.body.stream_modes)

    def watch(self, method: str, path: str) -> Observer | None:
        """Whatever may be a run."""
        return AgUiObserver(path) if method == "POST" and self._path in (None, path) else None


_REFUSALS: dict[str, tuple[type[ResumeError], str]] = {
    code: (kind, advice)
    for kind, advice, codes in (
        (
            ThreadBusy,
            "Wait until the thread is interrupted again.",
            ("THREAD_BUSY", "WorkflowException", "AGUI_CREWAI_THREAD_BUSY"),
        ),
        (
            ThreadNotInterrupted,
            "It knows of no question of this thread: it may have been answered elsewhere, or lost.",
            ("UNKNOWN_INTERRUPT_ID", "RuntimeError", "AGUI_CREWAI_NO_PENDING_FEEDBACK"),
        ),
        (
            InterruptNotPending,
            "Read the thread, and answer what it asks now.",
            (
                "INTERRUPT_RESUME_ERROR",
                "INTERRUPT_EXPIRED",
                "PARTIAL_RESUME",
                "WORKFLOW_RESUME_NOT_FOUND",
                "WORKFLOW_RESUME_MISSING_INTERRUPT",
                "APPROVAL_RESUME_NOT_FOUND",
                "APPROVAL_RESUME_MISSING_INTERRUPT",
            ),
        ),
        (
            InvalidAnswer,
            "Send the answer that the question asks for.",
            (
                "INVALID_PAYLOAD",
                "WORKFLOW_RESUME_INVALID",
                "WORKFLOW_RESUME_INVALID_RESPONSE",
                "APPROVAL_RESUME_INVALID",
                "APPROVAL_RESUME_INVALID_RESPONSE",
            ),
        ),
    )
    for code in codes
}
"""Codes of the adapters, none of which the protocol fixes."""


def _target(path: str) -> str:
    return quote(path, safe="/")


def _status(thread: Thread) -> ThreadStatus:
    if thread.busy:
        return "busy"
    return "interrupted" if thread.pending else "idle" if thread.error is None else "error"


def _shown(thread: Thread) -> tuple[Interrupt, ...]:
    """What a run asks is known when it ends; until then a name of its own stands for it, which no question has.

    LangGraph's ids are those of steps: the second question of a step has the id of the first, which was answered.
    """
    if thread.running:
        return (Interrupt(f"of run {thread.run_id}"),)
    return tuple(question.interrupt for question in thread.pending)


def _second(head: bytes) -> dict[str, Any] | None:
    """The first event but RUN_STARTED."""
    told = (event.json for event in sse.Decoder().feed(head) if event.data is not None)
    return next((one for one in told if isinstance(one, dict) and one.get("type") != "RUN_STARTED"), None)
