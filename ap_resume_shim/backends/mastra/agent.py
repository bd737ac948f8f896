"""Mastra's agents: a run stops at a tool call that needs an approval or asks for a value.

The server accepts a second resume while the first one runs, and runs the tool twice. A resumed run stays in the list of
suspended runs until it ends. To prevent a second execution, the shim reads the mark of the waiting call in the thread's
messages (`agent_thread.py`), and holds the thread until the mark is gone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from ap_resume_shim.backends.mastra import messages as wire
from ap_resume_shim.backends.mastra.agent_stream import AgentStream
from ap_resume_shim.backends.mastra.agent_thread import (
    QUESTION_ID,
    AgentQuestion,
    Mark,
    calls_of,
    draft_messages,
    error_in,
    marks_of,
    question_of,
)
from ap_resume_shim.backends.mastra.conventions import ResumeAgent
from ap_resume_shim.backends.mastra.suspended_runs import AgentRun, Suspended, listed_calls, runs_of
from ap_resume_shim.core.dialect import Decision, Dialect, Found, Lookup, ResponseKind, Started, ThreadStatus
from ap_resume_shim.core.errors import InvalidRequest, ResumeError, ThreadNotInterrupted, UnsupportedInput
from ap_resume_shim.core.event_emitter import Emitter
from ap_resume_shim.core.http import Request, Response, segment
from ap_resume_shim.core.json_schema import violations
from ap_resume_shim.core.listing import Candidate, Listing, Page, collect
from ap_resume_shim.core.protocol import Mode, Resume
from ap_resume_shim.core.reframer import Reframer
from ap_resume_shim.core.steps import Ask, Steps
from ap_resume_shim.core.typed_answers import check_answer
from ap_resume_shim.core.vendor_resume import VendorResume, limited_to

_NEWEST = "perPage=100&orderBy=%7B%22field%22%3A%22createdAt%22%2C%22direction%22%3A%22DESC%22%7D"
"""Query for the newest 100 messages. A question in older messages is not found."""

_DECISION = {
    "properties": {"approved": {"type": "boolean"}, "reason": {"type": "string"}},
    "required": ["approved"],
    "additionalProperties": False,
}
"""The server's schema of an approval."""


@dataclass(frozen=True, slots=True)
class MastraAgentContext:
    """The questions of a thread, and the agents that have runs in it."""

    resource: str
    """Id of the thread's resource, which owns the thread."""
    questions: tuple[AgentQuestion, ...] = ()
    """Pending questions; after the resume, those that it did not answer."""
    answering: AgentQuestion | None = None
    wanted: str | None = None
    """The agent that the client names in `agent_id`, under its registered name."""
    agents: tuple[str, ...] = ()
    """The agents that have suspended runs in the thread."""
    elsewhere: bool = False
    """True if the messages mark a waiting call that is in none of these runs."""


class MastraAgent(Dialect[MastraAgentContext]):
    """`POST /agents/{agent}/resume-stream`, and `send-tool-approval` in the background."""

    name = "mastra-agent"
    family = "a request to the agent that names the run and its tool call"
    thread_is = "The id of a thread of the agent's memory: any string, case-sensitive."
    response_kinds: dict[Mode, ResponseKind] = {Mode.BACKGROUND: "run", Mode.WAIT: "events", Mode.STREAM: "events"}
    options = {"prefix": wire.PREFIX}
    limits = (
        "The agent needs a memory, and the server needs a storage.",
        "The server lists a run only once it has stopped at a question: before that, its thread looks idle.",
        "A question must be among the newest 100 messages of its thread.",
        'The answer to an approval is true, false or {"approved", "reason"}.',
        "null is refused: the server would not record that the call was answered.",
        "A resume answers one question.",
        "A run in the background cannot be stopped; a running tool continues until it ends.",
    )
    unsupported = frozenset({"webhook", "config", "on_completion"})
    interrupt_id_form = QUESTION_ID

    def __init__(self, prefix: str = "/api") -> None:
        """`prefix` is the path below which the server's API is."""
        self._prefix = wire.prefix(prefix)
        self.conventions = (ResumeAgent(self._prefix),)

    def inspect_thread(self, resume: Resume, *, full: bool = True) -> Lookup[MastraAgentContext]:
        """Read the thread, its messages and the list of agents; then the suspended runs of all agents, in parallel."""
        paths = (*self._thread(resume), f"{self._prefix}/agents?partial=true")
        thread, listed, agents = map(wire.read, (yield from Ask(tuple(map(Request.get, paths)))))
        wanted = _name(resume.body.agent_id, agents) if full else None
        names = list(dict.fromkeys([*agents, *([] if wanted is None else [wanted])]))
        answers = (yield from Ask(tuple(self._suspended(name, resume) for name in names))) if names else ()
        return _of_run(resume, _found(thread, listed, runs_of(names, answers), wanted))

    def refresh_thread(
        self, resume: Resume, before: Found[MastraAgentContext], *, full: bool = False
    ) -> Lookup[MastraAgentContext]:
        """Read the thread again, with the runs of the agents that had some.

        The runs of all agents are read if the messages mark a waiting call of another agent.
        """
        context = before.context
        if context.agents:
            requests = [Request.get(path) for path in self._thread(resume)]
            thread, listed, *answers = yield from Ask(
                (*requests, *(self._suspended(name, resume) for name in context.agents))
            )
            runs = runs_of(context.agents, answers)
            found = _found(wire.read(thread), wire.read(listed), runs, context.wanted if full else None)
            if not found.context.elsewhere:
                return _of_run(resume, found)
        return (yield from self.inspect_thread(resume, full=full))

    def list_waiting(self, page: Page) -> Steps[Listing]:
        """List the threads with suspended runs of each agent."""
        (answer,) = yield from Ask((Request.get(f"{self._prefix}/agents?partial=true"),))
        agents = wire.read(answer)
        names = sorted(agents) if page.agent_id is None else [str(_name(page.agent_id, agents))]
        return (
            yield from collect(page, [Suspended(name, self._prefix) for name in names], spent=1, notes=(wire.SHARED,))
        )

    def read_candidate(self, resume: Resume, candidate: Candidate) -> Lookup[MastraAgentContext]:
        """Read the messages, which show whether the calls of these runs still wait."""
        (answer,) = yield from Ask((Request.get(self._thread(resume)[1]),))
        runs: list[AgentRun] = candidate.row
        found = _found({"resourceId": runs[0][1].get("resourceId")}, wire.read(answer), runs, None)
        return replace(found, status="interrupted" if found.interrupts else found.status)

    def check(self, resume: Resume, found: Found[MastraAgentContext], verdict: Decision) -> None:
        """Refuse several answers, an invalid approval, and values that the tool would not receive unchanged."""
        answer = wire.one(verdict, found)
        question = wire.answered(found.context.questions, verdict)
        if question.approval:
            _decision(answer)
            return
        if answer is None:
            raise UnsupportedInput(
                "Mastra does not record a null answer to a tool call, and would accept another one: "
                "send an object, or another value that the tool accepts."
            )
        wire.CARRIES.check(answer)
        check_answer(question.interrupt, answer, wire.ENFORCED)

    def prepare(
        self, resume: Resume, found: Found[MastraAgentContext], verdict: Decision
    ) -> Steps[tuple[Found[MastraAgentContext], Decision]]:
        """Select the question that is answered."""
        yield from ()
        question = wire.answered(found.context.questions, verdict)
        left = tuple(other for other in found.context.questions if other != question)
        return replace(
            found,
            interrupts=(question.interrupt,),
            agent_id=question.agent,
            run_id=question.run,
            context=replace(found.context, questions=left, answering=question),
        ), verdict

    def resume(self, resume: Resume, found: Found[MastraAgentContext], verdict: Decision) -> Request:
        """Build the request: `resume-stream`, or in the background `send-tool-approval`.

        A client that disconnects from `resume-stream` stops the run.
        """
        question = found.context.answering
        assert question is not None, "prepared for one question"
        answer = wire.one(verdict, found)
        value = _decision(answer) if question.approval else answer
        fields = {"toolCallId": question.call, "resumeData": value}
        path = f"{self._prefix}/agents/{segment(question.agent)}"
        if resume.mode is Mode.BACKGROUND:
            owner = {"resourceId": found.context.resource, "threadId": resume.thread_id}
            return Request.post(f"{path}/send-tool-approval", {**owner, "approved": True, **fields})
        return Request.post(f"{path}/resume-stream", {"runId": question.run, **fields}, "text/event-stream")

    def refusal(self, response: Response) -> ResumeError:
        """Read an error status, such as 500 for a run or a call that does not wait."""
        return wire.refusal(response)

    def begun(self, head: bytes) -> bool:
        """True: the server sends refusals before a stream, so its head proves the acceptance."""
        return True

    def refused(self, resume: Resume, response: Response) -> ResumeError | None:
        """None: errors in a stream are the agent's errors."""
        return None

    def started(
        self, response: Response, body: bytes, resume: Resume, found: Found[MastraAgentContext]
    ) -> Started[MastraAgentContext] | None:
        """Return the run that waited; its id does not change."""
        return Started(str(found.run_id), found.agent_id, context=found.context)

    def reframer(self, resume: Resume, started: Started[MastraAgentContext]) -> Reframer:
        """Convert the chunks of the agent's stream."""
        left = (question.interrupt for question in started.context.questions)
        return AgentStream(Emitter(resume.body.stream_modes), left)

    def locate(self, vendor: VendorResume) -> Steps[str]:
        """Read the agent's suspended runs, which have their threads. A resumed run is in the list until it ends."""
        agent = str(vendor.fields["agent_id"])
        path = f"{self._prefix}/agents/{segment(agent)}/suspended-runs?perPage=1000"
        (answer,) = yield from Ask((Request.get(path),))
        for run in wire.read(answer)["runs"]:
            if run["runId"] == vendor.run_id and run.get("threadId"):
                return str(run["threadId"])
        raise ThreadNotInterrupted(f"The agent {agent!r} has no suspended run {vendor.run_id}: no question is pending.")

    def _thread(self, resume: Resume) -> tuple[str, str]:
        path = f"{self._prefix}/memory/threads/{segment(resume.thread_id)}"
        return path, f"{path}/messages?{_NEWEST}"

    def _suspended(self, agent: str, resume: Resume) -> Request:
        return Request.get(
            f"{self._prefix}/agents/{segment(agent)}/suspended-runs?threadId={segment(resume.thread_id)}"
        )


def _found(
    thread: dict[str, Any], listed: dict[str, Any], runs: list[AgentRun], wanted: str | None
) -> Found[MastraAgentContext]:
    """Return the thread. `runs` are its suspended runs."""
    messages: list[dict[str, Any]] = listed["messages"][::-1]
    marks = marks_of(messages)
    questions = tuple(_questions(runs, marks))
    _same_agent_or_refuse(wanted, questions)
    error = error_in(messages)
    return Found(
        _status(runs, marks, questions, error),
        tuple(question.interrupt for question in questions),
        past_ids=calls_of(messages),
        agent_id=questions[0].agent if questions else wanted,
        values={"messages": draft_messages(messages)},
        error=error,
        updated_at=thread.get("updatedAt"),
        run_id=questions[0].run if questions else None,
        context=MastraAgentContext(
            thread["resourceId"],
            questions,
            wanted=wanted,
            agents=tuple(dict.fromkeys(name for name, _ in runs)),
            elsewhere=not set(marks) <= listed_calls(runs),
        ),
    )


def _of_run(resume: Resume, found: Found[MastraAgentContext]) -> Found[MastraAgentContext]:
    """Return the thread with the questions of the run that the client names, if it names one."""
    if resume.run_id is None:
        return found
    questions = tuple(question for question in found.context.questions if question.run == resume.run_id)
    found = replace(found, context=replace(found.context, questions=questions))
    return limited_to(found, resume.run_id, tuple(question.interrupt for question in questions))


def _name(wanted: str | None, agents: dict[str, Any]) -> str | None:
    """Return the registered name of an agent; the server accepts its id as well."""
    return next((name for name, agent in agents.items() if wanted is not None and agent.get("id") == wanted), wanted)


def _questions(runs: list[AgentRun], marks: dict[str, Mark]) -> Iterator[AgentQuestion]:
    """Yield the calls that wait according to both the suspended runs and the messages."""
    for agent, run in runs:
        for call in run["toolCalls"]:
            mark, approval = marks.get(call.get("toolCallId")), bool(call.get("requiresApproval"))
            if mark is not None and mark.approval == approval:
                value = question_of(call, approval=approval)
                yield AgentQuestion(
                    agent, run["runId"], mark.call, approval, value, mark.schema, run.get("suspendedAt")
                )


def _status(
    runs: list[AgentRun], marks: dict[str, Mark], questions: tuple[AgentQuestion, ...], error: Any
) -> ThreadStatus:
    """Return the thread's status.

    It is busy while runs and messages disagree: a call in only one of them has been answered, or is about to be asked.
    """
    waiting, listed = {question.call for question in questions}, listed_calls(runs)
    if waiting != listed or waiting != set(marks):
        return "busy"
    return "interrupted" if questions else "idle" if error is None else "error"


def _same_agent_or_refuse(wanted: str | None, questions: tuple[AgentQuestion, ...]) -> None:
    """Raise `InvalidRequest` for another agent, which would continue the run with its own tools."""
    names = {question.agent for question in questions}
    if wanted is not None and names and wanted not in names:
        raise InvalidRequest(
            f"The question belongs to {', '.join(map(repr, sorted(names)))}, not to {wanted!r}. Leave `agent_id` out "
            "to use the thread's own agent.",
            {"field": "agent_id"},
        )


def _decision(answer: Any) -> dict[str, Any]:
    """Return the approval as an object. Raises `UnsupportedInput` for any other value.

    With another value the server would ask again, and report that the run continued.
    """
    value = {"approved": answer} if isinstance(answer, bool) else answer
    if isinstance(value, dict) and not violations(_DECISION, value, wire.ENFORCED):
        return value
    raise UnsupportedInput(
        'The tool call needs an approval: send true, false or {"approved": true or false, "reason": "…"}.'
    )
