"""A2A agents: a task that waits is resumed by a message that names it, and its context.

With the context alone, a message begins another task. Agents take a message to a task that works as well: it becomes
the answer to the next question (current SDK), or runs beside the first one (SDK of 0.3).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace

from ap_resume_shim.backends.a2a import bindings as wire
from ap_resume_shim.backends.a2a.answer import check, said
from ap_resume_shim.backends.a2a.observer import A2aObserver
from ap_resume_shim.backends.a2a.stream import A2aStream
from ap_resume_shim.backends.a2a.task import Json, Task, newest
from ap_resume_shim.core import sse
from ap_resume_shim.core.dialect import (
    Answers,
    Decision,
    Dialect,
    Fingerprint,
    Found,
    Lookup,
    Observer,
    Started,
    ThreadStatus,
)
from ap_resume_shim.core.dialect_helpers import read_refusal
from ap_resume_shim.core.errors import (
    AgentNotFound,
    ConfigurationError,
    MultipleInterrupts,
    ResumeError,
    ThreadNotFound,
    ThreadNotInterrupted,
    UpstreamUnrecognised,
)
from ap_resume_shim.core.event_emitter import Emitter
from ap_resume_shim.core.http import Request, Response
from ap_resume_shim.core.protocol import Mode, Resume
from ap_resume_shim.core.reframer import Ended, Reframer
from ap_resume_shim.core.steps import Ask, ReadLedger, Steps


@dataclass(frozen=True, slots=True)
class A2AContext:
    """What a lookup learned beside the thread's state: who is spoken to, and about which task."""

    agent: wire.Agent
    asked: dict[str | None, Task] = field(default_factory=dict)
    """The tasks that wait, by interrupt id."""
    task: Json = field(default_factory=dict)
    """The task that is resumed, as it was before."""
    message: Json = field(default_factory=dict)
    """What resumes it."""


class A2A(Dialect[A2AContext]):
    """`SendMessage` with `taskId` and `contextId`."""

    name = "a2a"
    family = "a message to the task that waits"
    thread_is = "The context's id, `contextId`; a run is a task of it."
    specificity = -3  # servers of other kinds may have a card beside their own API
    fingerprints = (Fingerprint(card=True),)
    options = {
        "card": f"the path of the agent's card; default: `{wire.CARD}`",
        "binding": f"one of {', '.join(f'`{name}`' for name in wire.BINDINGS)}; default: what the card prefers of them",
        "path": "where the agent speaks that binding; default: the path of the card's URL. With both, no card is read",
    }
    limits = (
        "JSON-RPC 0.3 has no list of tasks: there, only tasks that passed through the shim can be resumed.",
        "1.0 knows numbers as doubles alone: an agent hears 3 as 3.0, so that integers are refused.",
        "0.3 carries text and objects: other values are refused.",
        "Of several tasks of a context that wait, one is answered at a time.",
        "An agent of the SDK of 0.3 that raises leaves its task working for ever: the context stays busy.",
    )
    unsupported = frozenset({"config", "webhook", "on_completion"})
    accept_after_silent_grace = False
    event_types = frozenset({"text/event-stream", "application/json"})  # JSON-RPC's errors

    def __init__(self, card: str = wire.CARD, binding: str | None = None, path: str | None = None) -> None:
        """What the options say; the card is read with each resume."""
        if binding is not None and binding not in wire.BINDINGS:
            known = ", ".join(wire.BINDINGS)
            raise ConfigurationError(f"The option `binding` of the backend 'a2a' is one of {known}, not {binding!r}.")
        self._card, self._binding, self._path = card, binding, path

    def lookup(self, resume: Resume, *, agent: bool = True) -> Lookup[A2AContext]:
        """The tasks of the context: those that the agent lists, else those that were seen."""
        spoken_to = yield from self._agent()
        return (yield from self._tasks(resume, spoken_to, agent=agent))

    def look_again(self, resume: Resume, before: Found[A2AContext], *, agent: bool = False) -> Lookup[A2AContext]:
        """The tasks, of the agent as it was found first: one resume keeps to one card."""
        return (yield from self._tasks(resume, before.context.agent, agent=agent))

    def _tasks(self, resume: Resume, spoken_to: wire.Agent, *, agent: bool) -> Lookup[A2AContext]:
        wanted = resume.body.agent_id
        if agent and wanted is not None and wanted != spoken_to.name:
            raise AgentNotFound(
                f"The backend knows no agent {wanted!r}: leave `agent_id` out, or name it as its card does."
            )
        moving = False
        if spoken_to.binding.lists:
            tasks, moving = yield from _listed(spoken_to.binding, resume)
        else:
            tasks = yield from _remembered(spoken_to.binding, resume)
        found = replace(_found(tasks, spoken_to, None if not agent else resume), moving=moving)
        if agent or resume.mode is Mode.BACKGROUND or spoken_to.response_kinds[resume.mode] != "run":
            return found
        (answer,) = yield from Ask((spoken_to.binding.task(str(found.run_id)),))  # lists leave out what was made
        return replace(found, values=Task(spoken_to.binding.result(answer)).values)

    def _agent(self) -> Steps[wire.Agent]:
        """The agent, by its card, unless the options say all that is needed."""
        if self._binding is not None and self._path is not None:
            return wire.Agent(wire.BINDINGS[self._binding](self._path))
        (card,) = yield from Ask((Request.get(self._card),))
        return wire.read_card(card, self._binding, self._path)

    def check(self, resume: Resume, found: Found[A2AContext], verdict: Decision) -> None:
        """One answer, of values that arrive as they are sent."""
        assert isinstance(verdict, Answers), "an agent that waits has asked"
        if len(verdict.by_id) > 1:
            raise MultipleInterrupts(
                "Each of these questions is one of another task: answer one of them at a time.", found.interrupts
            )
        for part in said(resume, verdict.values[0]):
            check(part, found.context.agent)

    def prepare(
        self, resume: Resume, found: Found[A2AContext], verdict: Decision
    ) -> Steps[tuple[Found[A2AContext], Decision]]:
        """From here on it is about one task. A stream tells what is new: for the rest, the task is read before it."""
        assert isinstance(verdict, Answers), "an agent that waits has asked"
        context = found.context
        binding = context.agent.binding
        ((asked, value),) = verdict.by_id.items()
        task = context.asked[asked]
        parts = [binding.part(part) for part in said(resume, value)]
        message = binding.message(resume.nonce, parts, task.id, task.context_id)
        whole = task.value
        if context.agent.response_kinds[resume.mode] == "events":
            (answer,) = yield from Ask((binding.task(task.id),))
            whole = binding.result(answer)
        context = replace(context, task=whole, message=message)
        return replace(found, interrupts=(task.question,), run_id=task.id, context=context), verdict

    def resume(self, resume: Resume, found: Found[A2AContext], verdict: Decision) -> Request:
        """The message, named by this resume alone."""
        context = found.context
        if context.agent.response_kinds[resume.mode] == "events":
            return context.agent.binding.stream(context.message, resume.body.metadata)
        wait = context.agent.response_kinds[resume.mode] == "result"
        return context.agent.binding.send(context.message, resume.body.metadata, wait=wait)

    def refusal(self, response: Response) -> ResumeError:
        """REST's errors have a status line."""
        return wire.refusal(response)

    def begun(self, head: bytes) -> bool:
        """JSON-RPC tells a refusal in a body that is no stream."""
        return super().begun(head) or Response(200, (), head).json is not None

    def refused(self, resume: Resume, response: Response) -> ResumeError | None:
        """JSON-RPC's errors come with 200; an agent that fails has taken the resume."""
        first = sse.first_event(response.body)
        problem = wire.problem(response if first is None else replace(response, body=(first.data or "").encode()))
        return None if problem is None or problem.failed else problem.error()

    def started(
        self, response: Response, body: bytes, resume: Resume, found: Found[A2AContext]
    ) -> Started[A2AContext] | None:
        """The task goes on under its own name."""
        started = Started(str(found.run_id), found.agent_id, context=found.context)
        problem = wire.problem(replace(response, body=body))
        streams = found.context.agent.response_kinds[resume.mode] == "events"
        if streams and body and problem is None and sse.first_event(body) is None:
            raise UpstreamUnrecognised("The agent's answer is no stream of events.")
        if resume.mode is not Mode.BACKGROUND:
            return started
        error = {"message": problem.text} if problem else Task(_task_in(body)).error
        return started if error is None else replace(started, status="error", error=error)

    def cancel(self, resume: Resume, started: Started[A2AContext]) -> Request | None:
        """An agent goes on when its client has left."""
        return _binding(started).cancel(started.run_id)

    def join(self, resume: Resume, started: Started[A2AContext]) -> Request | None:
        """Events from now on; before them, the current SDK sends the task as it is."""
        agent = started.context.agent
        return agent.binding.subscribe(started.run_id) if agent.streams else None

    def location(self, resume: Resume, started: Started[A2AContext]) -> str | None:
        """JSON-RPC's tasks have none."""
        return _binding(started).location(started.run_id)

    def run(self, resume: Resume, started: Started[A2AContext]) -> Request | None:
        """The task."""
        return _binding(started).task(started.run_id)

    def has_ended(self, response: Response) -> bool:
        """At rest, whatever came of it."""
        return wire.problem(response) is not None or not Task(_task_in(response.body)).works

    def ended(self, body: bytes) -> Ended:
        """The task, or the error of an agent that failed."""
        problem = wire.problem(Response(200, (), body.strip()))
        if problem is not None:
            return Ended(error={"message": problem.text})
        task = Task(_task_in(body))
        return Ended(task.values, task.error)

    def reframer(self, resume: Resume, started: Started[A2AContext]) -> Reframer:
        """Its events are of a task, which is known as it was before."""
        context = started.context
        return A2aStream(Emitter(resume.body.stream_modes), Task(context.task), context.message)

    def watch(self, method: str, path: str) -> Observer | None:
        """Any POST may be JSON-RPC."""
        return A2aObserver() if method == "POST" else None


def _listed(binding: wire.Binding, resume: Resume) -> Steps[tuple[list[Task], bool]]:
    """All pages, and whether a task changed meanwhile: then it may be on no page that was read, or on two of them.

    A server that does not know the filter gives the tasks of others as well.
    """
    listed, page = yield from _page(binding, resume, "")
    first, several = listed, bool(page)
    pages = set[str]()
    while page:
        if page in pages:
            raise UpstreamUnrecognised("The agent's list of tasks has no end: a page leads back to one before it.")
        pages.add(page)
        more, page = yield from _page(binding, resume, page)
        listed = [*listed, *more]
    again = first
    if several:
        again, _ = yield from _page(binding, resume, "")
    tasks = {task.id: task for task in map(Task, [*listed, *again]) if task.context_id == resume.thread_id}
    if not tasks:
        raise ThreadNotFound(f"The agent has no task in context {resume.thread_id}. Check `thread_id`.")
    return list(tasks.values()), again != first


def _page(binding: wire.Binding, resume: Resume, page: str) -> Steps[tuple[list[Json], str]]:
    """A page of tasks, and the name of the next one."""
    (answer,) = yield from Ask((binding.tasks(resume.thread_id, page),))
    listed = binding.result(_at_home(answer))
    return list(listed.get("tasks") or ()), listed.get("nextPageToken") or ""


def _remembered(binding: wire.Binding, resume: Resume) -> Steps[list[Task]]:
    """The tasks that passed here, as they are now; an agent that was started anew has forgotten them."""
    entries = yield from ReadLedger()
    seen = [task_id for entry in entries if isinstance(task_id := entry.facts.get("task"), str)]
    # Who may not read tasks is refused, whether any passed here or not: then, one that is not there is asked for.
    answers = yield from Ask(tuple(binding.task(task_id) for task_id in seen or [resume.thread_id]))
    if not seen:
        if _at_home(answers[0]).status in (401, 403, 429):
            raise read_refusal(answers[0])
        raise ThreadNotInterrupted(
            f"No task of context {resume.thread_id} has passed here, and the agent cannot be asked for them in version "
            "0.3 of A2A. Start tasks through the shim.",
            {"thread_status": "unknown"},
        )
    tasks = []
    for answer in answers:
        try:
            tasks.append(Task(binding.result(_at_home(answer))))
        except ThreadNotFound:
            continue
    if not tasks:
        raise ThreadNotFound(f"The agent knows the tasks of context {resume.thread_id} no longer.")
    return tasks


def _at_home(answer: Response) -> Response:
    """The answer, unless nothing is there: no list is ever 404, nor anything of JSON-RPC."""
    if answer.status in (404, 405):
        raise UpstreamUnrecognised(
            f"The backend does not speak A2A where its card says: it answered {answer.status}. "
            "The option `path` says where it does.",
            {"upstream_status": answer.status},
        )
    return answer


def _found(tasks: list[Task], agent: wire.Agent, resume: Resume | None) -> Found[A2AContext]:
    """A context stands as its tasks do.

    While one of them works, the question of another is answered only by a `resume` that names it: an answer that
    comes too late for one would find the other.
    """
    last = newest(tasks)
    asked: dict[str | None, Task] = {task.question.id: task for task in tasks if task.waits}
    status: ThreadStatus = "idle"
    if asked and (resume is None or not last.works or _names(resume, asked)):
        status = "interrupted"
    elif last.works:
        status = "busy"
    elif last.failed:
        status = "error"
    return Found(
        status=status,
        interrupts=tuple(task.question for task in asked.values()),
        past_ids=frozenset().union(*(task.question_ids for task in tasks)),
        agent_id=agent.name,
        error=last.error,
        updated_at=last.updated_at,
        run_id=last.id,
        context=A2AContext(agent, asked),
        response_kinds=agent.response_kinds,
    )


def _names(resume: Resume, asked: Collection[str | None]) -> bool:
    """Whether the resume names the question that it answers, by a pin or by a key of its answer."""
    given = resume.body.input
    return resume.body.interrupt_id is not None or (isinstance(given, dict) and not set(asked).isdisjoint(given))


def _binding(started: Started[A2AContext]) -> wire.Binding:
    return started.context.agent.binding


def _task_in(body: bytes) -> Json:
    value = Response(200, (), body.strip()).json
    kind, task = wire.told(wire.unwrapped(value)) if isinstance(value, dict) else ("", {})
    if kind not in ("task", "message"):
        raise UpstreamUnrecognised("The agent's answer holds no task.")
    # An agent may answer with a message alone: then that is all there is.
    return {"status": {"state": "completed"}, "history": [task]} if kind == "message" else task
