"""Mastra's agents: a run stops at a tool call that has to be approved, or that asks for a value.

The server takes a second resume while the first is at work, and runs the tool twice; a run that was resumed stays in
its list of suspended runs until it ends. What keeps a tool from running twice is the mark that its call has in the
thread's messages (`mastra_thread`), and the shim, until the mark is gone.
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
    error_in,
    marks_of,
    question_of,
    said,
)
from ap_resume_shim.core.dialect import Decision, Dialect, Found, Lookup, ResponseKind, Started, ThreadStatus
from ap_resume_shim.core.dialect_helpers import error_text
from ap_resume_shim.core.errors import InvalidRequest, ResumeError, UnsupportedInput
from ap_resume_shim.core.event_emitter import Emitter
from ap_resume_shim.core.http import Request, Response, segment
from ap_resume_shim.core.json_schema import violations
from ap_resume_shim.core.protocol import Mode, Resume
from ap_resume_shim.core.reframer import Reframer
from ap_resume_shim.core.steps import Ask, Steps
from ap_resume_shim.core.typed_answers import check_answer

_NEWEST = "perPage=100&orderBy=%7B%22field%22%3A%22createdAt%22%2C%22direction%22%3A%22DESC%22%7D"
"""The newest 100 messages: in them is the question, unless so much was said since."""

_DECISION = {
    "properties": {"approved": {"type": "boolean"}, "reason": {"type": "string"}},
    "required": ["approved"],
    "additionalProperties": False,
}
"""The schema of the server's own."""


@dataclass(frozen=True, slots=True)
class MastraAgentContext:
    """What the lookup leaves for the resume."""

    resource: str
    """Whose thread it is."""
    questions: tuple[AgentQuestion, ...] = ()
    """Those that are pending; of a run that was resumed, those that it leaves as they are."""
    answering: AgentQuestion | None = None
    wanted: str | None = None
    """The agent that the client names, by the name that it is registered by."""
    agents: tuple[str, ...] = ()
    """Those that have runs in the thread."""
    elsewhere: bool = False
    """Whether a call waits, by the messages, that is in none of these runs."""


class MastraAgent(Dialect[MastraAgentContext]):
    """`POST /agents/{agent}/resume-stream`, and `send-tool-approval` in the background."""

    name = "mastra-agent"
    family = "a request to the agent, which names the run and its tool call"
    thread_is = "The id of a thread of the agent's memory: any string, case-sensitive."
    response_kinds: dict[Mode, ResponseKind] = {Mode.BACKGROUND: "run", Mode.WAIT: "events", Mode.STREAM: "events"}
    options = {"prefix": wire.PREFIX}
    limits = (
        "The agent needs a memory, and the server a storage.",
        "A run is known to the server once it has stopped at a question: before that its thread looks at rest.",
        "A question is found among the newest 100 messages of its thread.",
        'An approval is answered with true, false or {"approved", "reason"}.',
        "null is no answer: the server would not keep in mind that the call was answered.",
        "Of several questions, one is answered at a time.",
        "A run in the background cannot be stopped; a tool that works goes on until it ends.",
    )
    unsupported = frozenset({"webhook", "config", "on_completion"})
    interrupt_id_form = QUESTION_ID

    def __init__(self, prefix: str = "/api") -> None:
        """See `options`."""
        self._prefix = wire.prefix(prefix)

    def lookup(self, resume: Resume, *, agent: bool = True) -> Lookup[MastraAgentContext]:
        """The thread and its messages; then the suspended runs that the agents have in it, side by side."""
        paths = (*self._thread(resume), f"{self._prefix}/agents?partial=true")
        thread, listed, agents = map(wire.read, (yield from Ask(tuple(map(Request.get, paths)))))
        wanted = _name(resume.body.agent_id, agents) if agent else None
        names = list(dict.fromkeys([*agents, *([] if wanted is None else [wanted])]))
        answers = (yield from Ask(tuple(self._suspended(name, resume) for name in names))) if names else ()
        return _found(thread, listed, dict(zip(names, answers, strict=True)), wanted)

    def look_again(
        self, resume: Resume, before: Found[MastraAgentContext], *, agent: bool = False
    ) -> Lookup[MastraAgentContext]:
        """The same of the agents that had runs in the thread; of all, where the messages tell of a call of another."""
        context = before.context
        if context.agents:
            requests = [Request.get(path) for path in self._thread(resume)]
            thread, listed, *answers = yield from Ask(
                (*requests, *(self._suspended(name, resume) for name in context.agents))
            )
            runs = dict(zip(context.agents, answers, strict=True))
            found = _found(wire.read(thread), wire.read(listed), runs, context.wanted if agent else None)
            if not found.context.elsewhere:
                return found
        return (yield from self.lookup(resume, agent=agent))

    def check(self, resume: Resume, found: Found[MastraAgentContext], verdict: Decision) -> None:
        """One answer: a decision where a decision is asked, else what the tool takes as it is."""
        answer = wire.one(verdict, found)
        question = wire.answered(found.context.questions, verdict)
        if question.approval:
            _decision(answer)
            return
        if answer is None:
            raise UnsupportedInput(
                "Mastra does not note that a tool call was answered when the answer is null, and would take another: "
                "send an object, or whatever else the tool understands."
            )
        wire.CARRIES.check(answer)
        check_answer(question.interrupt, answer, wire.ENFORCED)

    def prepare(
        self, resume: Resume, found: Found[MastraAgentContext], verdict: Decision
    ) -> Steps[tuple[Found[MastraAgentContext], Decision]]:
        """From here on it is about the one question."""
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
        """In the background by the thread, since who leaves the other way's stream stops the run."""
        question = found.context.answering
        assert question is not None, "prepared for one question"
        answer = wire.one(verdict, found)
        value = _decision(answer) if question.approval else answer
        given = {"toolCallId": question.call, "resumeData": value}
        path = f"{self._prefix}/agents/{segment(question.agent)}"
        if resume.mode is Mode.BACKGROUND:
            whose = {"resourceId": found.context.resource, "threadId": resume.thread_id}
            return Request.post(f"{path}/send-tool-approval", {**whose, "approved": True, **given})
        return Request.post(f"{path}/resume-stream", {"runId": question.run, **given}, "text/event-stream")

    def refusal(self, response: Response) -> ResumeError:
        """500 for a run, or a call, that does not wait."""
        return wire.refusal(response)

    def begun(self, head: bytes) -> bool:
        """All refusals come before the stream: its head says that the run goes on."""
        return True

    def refused(self, resume: Resume, response: Response) -> ResumeError | None:
        """What a stream tells of errors is the agent's own."""
        return None

    def started(
        self, response: Response, body: bytes, resume: Resume, found: Found[MastraAgentContext]
    ) -> Started[MastraAgentContext] | None:
        """The run that waited goes on under its own name."""
        return Started(str(found.run_id), found.agent_id, context=found.context)

    def reframer(self, resume: Resume, started: Started[MastraAgentContext]) -> Reframer:
        """Chunks of a model's stream."""
        left = (question.interrupt for question in started.context.questions)
        return AgentStream(Emitter(resume.body.stream_modes), left)

    def _thread(self, resume: Resume) -> tuple[str, str]:
        path = f"{self._prefix}/memory/threads/{segment(resume.thread_id)}"
        return path, f"{path}/messages?{_NEWEST}"

    def _suspended(self, agent: str, resume: Resume) -> Request:
        return Request.get(
            f"{self._prefix}/agents/{segment(agent)}/suspended-runs?threadId={segment(resume.thread_id)}"
        )


def _found(
    thread: dict[str, Any], listed: dict[str, Any], answers: dict[str, Response], wanted: str | None
) -> Found[MastraAgentContext]:
    """`answers`: the suspended runs, by agent."""
    messages: list[dict[str, Any]] = listed["messages"][::-1]
    marks = marks_of(messages)
    runs = [(name, run) for name, answer in answers.items() for run in _runs(answer)]
    questions = tuple(_questions(runs, marks))
    _same_agent_or_refuse(wanted, questions)
    error = error_in(messages)
    return Found(
        _status(runs, marks, questions, error),
        tuple(question.interrupt for question in questions),
        past_ids=calls_of(messages),
        agent_id=questions[0].agent if questions else wanted,
        values={"messages": said(messages)},
        error=error,
        updated_at=thread.get("updatedAt"),
        run_id=questions[0].run if questions else None,
        context=MastraAgentContext(
            thread["resourceId"],
            questions,
            wanted=wanted,
            agents=tuple(dict.fromkeys(name for name, _ in runs)),
            elsewhere=not set(marks) <= _listed(runs),
        ),
    )


def _name(wanted: str | None, agents: dict[str, Any]) -> str | None:
    """The server takes an agent's id for the name that it is registered by."""
    return next((name for name, agent in agents.items() if wanted is not None and agent.get("id") == wanted), wanted)


def _runs(answer: Response) -> list[dict[str, Any]]:
    """Of an agent without memory: none."""
    if answer.status == 403 and "no memory configured" in error_text(answer):
        return []
    runs: list[dict[str, Any]] = wire.read(answer)["runs"]
    return runs


def _questions(runs: list[tuple[str, dict[str, Any]]], marks: dict[str, Mark]) -> Iterator[AgentQuestion]:
    """The calls that wait by both accounts."""
    for agent, run in runs:
        for call in run["toolCalls"]:
            mark, approval = marks.get(call.get("toolCallId")), bool(call.get("requiresApproval"))
            if mark is not None and mark.approval == approval:
                value = question_of(call, approval=approval)
                yield AgentQuestion(agent, run["runId"], mark.call, approval, value, mark.schema)


def _status(
    runs: list[tuple[str, dict[str, Any]]], marks: dict[str, Mark], questions: tuple[AgentQuestion, ...], error: Any
) -> ThreadStatus:
    """A call that waits by one account alone has been answered, or is about to be asked."""
    waiting, listed = {question.call for question in questions}, _listed(runs)
    if waiting != listed or waiting != set(marks):
        return "busy"
    return "interrupted" if questions else "idle" if error is None else "error"


def _listed(runs: list[tuple[str, dict[str, Any]]]) -> set[Any]:
    """The calls that wait by the account of the suspended runs."""
    return {call.get("toolCallId") for _, run in runs for call in run["toolCalls"]}


def _same_agent_or_refuse(wanted: str | None, questions: tuple[AgentQuestion, ...]) -> None:
    """Another agent would go on with the run, with tools of its own."""
    whose = {question.agent for question in questions}
    if wanted is not None and whose and wanted not in whose:
        raise InvalidRequest(
            f"The question is one of {', '.join(map(repr, sorted(whose)))}, not of {wanted!r}. Leave `agent_id` out to "
            "use the thread's own agent.",
            {"field": "agent_id"},
        )


def _decision(answer: Any) -> dict[str, Any]:
    """Whether a tool may run. What is none would make the server ask again, and say that the run went on."""
    value = {"approved": answer} if isinstance(answer, bool) else answer
    if isinstance(value, dict) and not violations(_DECISION, value, wire.ENFORCED):
        return value
    raise UnsupportedInput(
        'A tool call asks whether it may run: send true, false or {"approved": true or false, "reason": "…"}.'
    )
