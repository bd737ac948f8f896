"""AG-UI: a single endpoint that runs an agent and responds with events.

The protocol has no request that reads a thread, so the shim knows a thread only from the runs that passed through it
(`observer.py`). A resume is a run like any other, whose request contains the answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any
from urllib.parse import quote

from ap_resume_shim.backends.ag_ui import messages as wire
from ap_resume_shim.backends.ag_ui.conventions import RunWithAnswers
from ap_resume_shim.backends.ag_ui.observer import SENT, SERVER, AgUiObserver, Thread
from ap_resume_shim.backends.ag_ui.stream import AgUiStream
from ap_resume_shim.core import sse
from ap_resume_shim.core.dialect import Continue, Decision, Dialect, Found, Lookup, Observer, Started, ThreadStatus
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
from ap_resume_shim.core.fingerprint import Fingerprint
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
    """`POST` to the agent's endpoint, with a `resume` entry for each question or with `forwardedProps.command`."""

    name = "ag-ui"
    family = "a new run, whose request contains the answer"
    thread_is = "`threadId`: any text, chosen by the client that started the first run."
    response_kinds = dict.fromkeys(Mode, "events")
    fingerprints = (
        Fingerprint(openapi=frozenset({"POST <RunAgentInput>"})),
        Fingerprint(openapi=frozenset({"POST <AGUIRequest>"})),
    )
    options = {"path": "path of the agent's endpoint, the only one to resume; default: every endpoint in the traffic"}
    limits = (
        "Only threads whose runs passed through the shim can be resumed: the protocol has no lookup.",
        "The protocol has no owner of a thread: only the credentials of the run that asked can answer its question.",
        "A run stops when its client disconnects, and its stream cannot be rejoined.",
    )
    unlisted = "AG-UI has no request that lists threads: read a thread by its id."
    unsupported = frozenset({"webhook", "config", "on_completion"})
    reserved = frozenset({"threadId", "runId", "resume"})
    commit = "with_answer"
    """The thread's state comes from the ledger, which stores a resuming run before the client receives the head of
    its response."""
    vocabulary = frozenset(SENT)

    def __init__(self, *, path: str = "") -> None:
        """`path` is the path of the agent's endpoint, such as `/agent`."""
        self._path = f"/{path.strip('/')}" if path else None
        self.conventions = (RunWithAnswers(self._path),)

    def inspect_thread(self, resume: Resume, *, full: bool = True) -> Lookup[Thread]:
        """Read the thread from the ledger, after the server has accepted the caller's credentials.

        Raises `ThreadNotInterrupted` if the ledger has nothing for this caller.
        """
        entries = yield from ReadLedger()
        thread = Thread.of(entries)
        path = thread.path if thread.is_known else (yield from self._endpoint())
        if full and path is not None:
            # An empty body starts no run: the server responds 422, or rejects the credentials before it reads the body.
            (response,) = yield from Ask((Request.post(_target(path), {}),))
            if response.status in (_NOT_ADMITTED if thread.is_known else _REFUSED):
                raise read_refusal(response, _RULES)
        if not (thread.is_known or full):
            # After a run, another caller may have started one or may own the question.
            return Found("busy" if thread.busy else "idle", context=thread)
        if not thread.is_known:
            raise ThreadNotInterrupted(
                f"No recent run of thread {resume.thread_id} with these credentials has passed through the shim, "
                "and this kind of server has no lookup: start its runs through the shim, and answer with the "
                "credentials of the run that asked.",
                {"thread_status": "unknown"},
            )
        agent_id = resume.body.agent_id if full else None
        if agent_id is not None and agent_id != thread.path.strip("/"):
            raise AgentNotFound(
                f"The thread's runs belong to the endpoint {thread.path}, not to {agent_id!r}: leave `agent_id` out."
            )
        return Found(
            status=_status(thread),
            interrupts=_visible_interrupts(thread),
            answered=tuple(question.interrupt for question in thread.answered),
            past_ids=frozenset(thread.past_ids),
            agent_id=thread.path.strip("/") or None,
            error=thread.error,
            run_id=thread.run_id,
            context=thread,
        )

    def _endpoint(self) -> Steps[str | None]:
        """Return the path of any agent's endpoint, to check the credentials there; None if the shim knows none."""
        entries = yield from ReadLedger(SERVER)
        paths = (entry.facts.get("path") for entry in entries)
        return self._path or next((path for path in paths if isinstance(path, str)), None)

    def answered_together(self, found: Found[Thread], interrupt: Interrupt) -> Sequence[Interrupt]:
        """Return all questions, if the server accepts only the answers to all of them."""
        return found.interrupts if wire.takes_all(found.context.pending) else (interrupt,)

    def check(self, resume: Resume, found: Found[Thread], verdict: Decision) -> None:
        """Refuse answers that the adapter would reject or change."""
        thread = found.context
        props = resume.body.extra.get("forwardedProps")
        if props is not None and (not isinstance(props, dict) or "command" in props):
            raise UnsupportedField(
                "`forwardedProps` is an object, whose `command` is set by the shim itself: leave it out.",
                {"field": "forwardedProps"},
            )
        if isinstance(verdict, Continue):
            return
        wire.check_answers(thread.pending, verdict.by_id)
        if thread.history is None and any(not question.keeps_history for question in thread.pending):
            raise UnsupportedInput(
                "The server stores no messages, and those of this thread are too many for the shim to store: resume "
                "it by a run of your own that contains them, or let the server store snapshots."
            )

    def resume(self, resume: Resume, found: Found[Thread], verdict: Decision) -> Request:
        """Start a run with the answers, and with the state, tools and context of the run that asked."""
        thread = found.context
        answers = wire.NO_ANSWER if isinstance(verdict, Continue) else wire.answer_fields(thread.pending, verdict.by_id)
        forwarded = self.forwarded(resume)
        run = {"state": {}, "tools": [], "context": [], "forwardedProps": {}, **thread.sent, **forwarded, **answers}
        props = [fields.get("forwardedProps") for fields in (thread.sent, forwarded, answers)]
        run["forwardedProps"] = {name: item for each in props if each for name, item in each.items()}
        ids = {"threadId": resume.thread_id, "runId": resume.nonce}
        body = {**ids, "messages": thread.history or [], **run}
        return Request.post(_target(thread.path), body, "text/event-stream")

    def refusal(self, response: Response) -> ResumeError:
        """Read an error status, such as 422 for an invalid body; other errors are in the stream."""
        return read_refusal(response, _RULES)

    def begun(self, head: bytes) -> bool:
        """True if there is an event after RUN_STARTED: that event shows whether the server accepted the resume."""
        return _second(head) is not None

    def refused(self, resume: Resume, response: Response) -> ResumeError | None:
        """Return the error if RUN_ERROR comes directly after RUN_STARTED; an agent that fails starts a step first."""
        second = _second(response.body)
        if second is None or second.get("type") != "RUN_ERROR" or not wire.refuses(second):
            return None
        text = str(second.get("message") or "").rstrip(".")
        code = str(second.get("code") or "")
        kind, advice = _REFUSALS.get(code, (UpstreamError, "Look into its log."))
        metadata = {"upstream": {"code": code, "message": text}}
        more = {"interrupts": ()} if issubclass(kind, InterruptNotPending) else {"metadata": metadata}
        return quoting(partial(kind, **more), "The server refused the resume", text or code, advice)

    def started(self, response: Response, body: bytes, resume: Resume, found: Found[Thread]) -> Started[Thread] | None:
        """Return the run; its id is the one in the request."""
        return Started(resume.nonce, found.agent_id, context=found.context)

    def reframer(self, resume: Resume, started: Started[Thread]) -> Reframer:
        """Convert AG-UI's events to the draft's events."""
        return AgUiStream(resume.body.stream_modes)

    def watch(self, method: str, path: str) -> Observer | None:
        """Observe each POST that may start a run."""
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
            "It has no question of this thread: the question may have been answered elsewhere, or lost.",
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
            "Send an answer of the form that the question requires.",
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
"""The error and the advice for each error code of the adapters; the protocol defines no codes."""


def _target(path: str) -> str:
    return quote(path, safe="/")


def _status(thread: Thread) -> ThreadStatus:
    if thread.busy:
        return "busy"
    return "interrupted" if thread.pending else "idle" if thread.error is None else "error"


def _visible_interrupts(thread: Thread) -> tuple[Interrupt, ...]:
    """Return the thread's questions; while a run is active, a placeholder whose id no question has.

    The placeholder distinguishes two questions of one step: LangGraph gives both the id of the step.
    """
    if thread.running:
        return (Interrupt(f"of run {thread.run_id}"),)
    return tuple(question.interrupt for question in thread.pending)


def _second(head: bytes) -> dict[str, Any] | None:
    """Return the first event other than RUN_STARTED."""
    payloads = (event.json for event in sse.Decoder().feed(head) if event.data is not None)
    return next((item for item in payloads if isinstance(item, dict) and item.get("type") != "RUN_STARTED"), None)
