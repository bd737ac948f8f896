"""A2A: a waiting task is resumed by a message with its `taskId` and `contextId`.

A message with the context alone starts another task. Agents accept a message to a working task as well: it becomes
the answer to the next question (current SDK), or runs in parallel to the first message (SDK of 0.3).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace

from ap_resume_shim.backends.a2a import bindings as wire
from ap_resume_shim.backends.a2a import errors
from ap_resume_shim.backends.a2a.answer import check, contents_of
from ap_resume_shim.backends.a2a.card import CARD, Agent, read_card
from ap_resume_shim.backends.a2a.conventions import JsonRpcMessage, RestMessage
from ap_resume_shim.backends.a2a.observer import A2aObserver
from ap_resume_shim.backends.a2a.public_card import PublicCard
from ap_resume_shim.backends.a2a.stream import A2aStream
from ap_resume_shim.backends.a2a.task import Json, Task, newest
from ap_resume_shim.backends.a2a.task_list import list_tasks, list_waiting, tasks_in_ledger
from ap_resume_shim.core import sse
from ap_resume_shim.core.dialect import Answers, Decision, Dialect, Found, Lookup, Observer, Started, ThreadStatus
from ap_resume_shim.core.errors import (
    AgentNotFound,
    ConfigurationError,
    MultipleInterrupts,
    ResumeError,
    ThreadNotFound,
    UpstreamUnrecognised,
)
from ap_resume_shim.core.event_emitter import Emitter
from ap_resume_shim.core.fingerprint import Fingerprint
from ap_resume_shim.core.http import Request, Response
from ap_resume_shim.core.listing import Candidate, Listing, Page
from ap_resume_shim.core.protocol import Mode, Resume
from ap_resume_shim.core.reframer import Ended, Reframer
from ap_resume_shim.core.steps import Ask, Steps
from ap_resume_shim.core.vendor_resume import VendorResume


@dataclass(frozen=True, slots=True)
class A2AContext:
    """The agent that a lookup found, and the task that is resumed."""

    agent: Agent
    waiting: dict[str | None, Task] = field(default_factory=dict)
    """Waiting tasks, by interrupt id."""
    task: Json = field(default_factory=dict)
    """The task that is resumed, as it was before the resume."""
    message: Json = field(default_factory=dict)
    """The message that resumes the task."""


class A2A(Dialect[A2AContext]):
    """`SendMessage` with `taskId` and `contextId`."""

    name = "a2a"
    family = "a message to the waiting task"
    thread_is = "The context's id, `contextId`; a run is one of its tasks."
    specificity = -3  # servers of other kinds may have an agent card, too
    fingerprints = (Fingerprint(card=True),)
    options = {
        "card": f"path of the agent card; default: `{CARD}`",
        "binding": f"one of {', '.join(f'`{name}`' for name in wire.BINDINGS)}; default: the first of them in the card",
        "path": "path of that binding; default: the path of the card's URL. If both are set, no card is read",
        "public_url": "the shim's own URL, which replaces the agent's address in cards; default: cards stay unchanged",
    }
    limits = (
        "JSON-RPC 0.3 cannot list tasks: only tasks that passed through the shim can be resumed.",
        "1.0 has only doubles: an agent would receive 3 as 3.0, so integers are refused.",
        "0.3 carries only text and objects: other values are refused.",
        "If several tasks of a context wait, a resume answers one of them.",
        "If an agent on the SDK of 0.3 raises, its task stays in `working` for ever, and the context stays busy.",
    )
    unlisted = "Agents with version 0.3 of A2A cannot list their tasks: read the context of a task by its id."
    unsupported = frozenset({"config", "webhook", "on_completion"})
    accept_after_silent_grace = False
    event_types = frozenset({"text/event-stream", "application/json"})  # JSON-RPC's errors
    conventions = (RestMessage(), JsonRpcMessage())

    def __init__(
        self,
        card: str = CARD,
        binding: str | None = None,
        path: str | None = None,
        public_url: str | None = None,
    ) -> None:
        """Check the options; the card is read at each resume. Raises `ConfigurationError` for an invalid one."""
        if binding is not None and binding not in wire.BINDINGS:
            known = ", ".join(wire.BINDINGS)
            raise ConfigurationError(f"The option `binding` of the backend 'a2a' is one of {known}, not {binding!r}.")
        for name, given in {"card": card, "path": path or "/"}.items():
            if not str(given).startswith("/"):
                raise ConfigurationError(
                    f"The option `{name}` of the backend 'a2a' is a path that begins with a slash, not {given!r}."
                )
        self._card, self._binding, self._path = card, binding, "/" if path == "" else path
        if public_url is not None:
            self.document_edits = (PublicCard(public_url, card, binding, path),)

    def inspect_thread(self, resume: Resume, *, full: bool = True) -> Lookup[A2AContext]:
        """Read the context's tasks: from the agent's list, or for JSON-RPC 0.3 those in the ledger."""
        server = yield from self._agent()
        return (yield from self._tasks(resume, server, full=full))

    def refresh_thread(self, resume: Resume, before: Found[A2AContext], *, full: bool = False) -> Lookup[A2AContext]:
        """Read the tasks again; the agent card is read once for each resume."""
        return (yield from self._tasks(resume, before.context.agent, full=full))

    def _tasks(self, resume: Resume, server: Agent, *, full: bool) -> Lookup[A2AContext]:
        wanted = resume.body.agent_id
        if full and wanted is not None and wanted != server.name:
            raise AgentNotFound(
                f"The backend has no agent {wanted!r}: leave `agent_id` out, or use the name in its card."
            )
        moving = False
        if server.binding.lists:
            tasks, moving = yield from list_tasks(server.binding, resume)
        else:
            tasks = yield from tasks_in_ledger(server.binding, resume)
        found = replace(_found(_of_run(resume, tasks), server, None if not full else resume), moving=moving)
        if full or resume.mode is Mode.BACKGROUND or server.response_kinds[resume.mode] != "run":
            return found
        (answer,) = yield from Ask((server.binding.task(str(found.run_id)),))  # lists omit artifacts
        return replace(found, values=Task(server.binding.result(answer)).values)

    def list_waiting(self, page: Page) -> Steps[Listing]:
        """List the tasks that wait, with the agent's own list."""
        server = yield from self._agent()
        if not server.binding.lists:
            return Listing(listed=False, notes=(self.unlisted,))
        listing = yield from list_waiting(server.binding, page)
        candidates = (Candidate(each.thread_id, (server, Task(each.row))) for each in listing.candidates)
        return replace(listing, candidates=tuple(candidates))

    def read_candidate(self, resume: Resume, candidate: Candidate) -> Lookup[A2AContext]:
        """Return the state of the task, which is in the list."""
        yield from ()
        server, task = candidate.row
        return _found([task], server, None)

    def _agent(self) -> Steps[Agent]:
        """Return the agent: from its card, or from the options if `binding` and `path` are both set."""
        if self._binding is not None and self._path is not None:
            return Agent(wire.BINDINGS[self._binding](self._path))
        (card,) = yield from Ask((Request.get(self._card),))
        return read_card(card, self._card, self._binding, self._path)

    def check(self, resume: Resume, found: Found[A2AContext], verdict: Decision) -> None:
        """Refuse several answers, and values that A2A would change."""
        assert isinstance(verdict, Answers), "a waiting agent has a question"
        if len(verdict.by_id) > 1:
            raise MultipleInterrupts(
                "Each of these questions belongs to another task: answer one of them at a time.", found.interrupts
            )
        for part in contents_of(resume, verdict.values[0]):
            check(part, found.context.agent)

    def prepare(
        self, resume: Resume, found: Found[A2AContext], verdict: Decision
    ) -> Steps[tuple[Found[A2AContext], Decision]]:
        """Select the task that is answered, and build its message.

        A stream carries only what is new, so in stream mode the task is read first.
        """
        assert isinstance(verdict, Answers), "a waiting agent has a question"
        context = found.context
        binding = context.agent.binding
        ((interrupt_id, value),) = verdict.by_id.items()
        task = context.waiting[interrupt_id]
        parts = [binding.part(part) for part in contents_of(resume, value)]
        message = binding.message(resume.nonce, parts, task.id, task.context_id)
        whole = task.value
        if context.agent.response_kinds[resume.mode] == "events":
            (answer,) = yield from Ask((binding.task(task.id),))
            whole = binding.result(answer)
        context = replace(context, task=whole, message=message)
        return replace(found, interrupts=(task.question,), run_id=task.id, context=context), verdict

    def resume(self, resume: Resume, found: Found[A2AContext], verdict: Decision) -> Request:
        """Send the message. Its id is the resume's nonce."""
        context = found.context
        if context.agent.response_kinds[resume.mode] == "events":
            return context.agent.binding.stream(context.message, resume.body.metadata)
        wait = context.agent.response_kinds[resume.mode] == "result"
        return context.agent.binding.send(context.message, resume.body.metadata, wait=wait)

    def refusal(self, response: Response) -> ResumeError:
        """Read an error response; only REST sends errors with an HTTP status."""
        return errors.refusal(response)

    def begun(self, head: bytes) -> bool:
        """True at the first event, or once the body is complete JSON: JSON-RPC refuses without a stream."""
        return super().begun(head) or Response(200, (), head).json is not None

    def refused(self, resume: Resume, response: Response) -> ResumeError | None:
        """Return the error in a 200 response of JSON-RPC; None if the agent failed, since it accepted the resume."""
        first = sse.first_event(response.body)
        problem = errors.problem(response if first is None else replace(response, body=(first.data or "").encode()))
        return None if problem is None or problem.failed else problem.error()

    def started(
        self, response: Response, body: bytes, resume: Resume, found: Found[A2AContext]
    ) -> Started[A2AContext] | None:
        """Return the run. Its id is the task's id, which a resume does not change.

        Raises `UpstreamUnrecognised` if the response to a stream request is no stream of events.
        """
        started = Started(str(found.run_id), found.agent_id, context=found.context)
        problem = errors.problem(replace(response, body=body))
        streams = found.context.agent.response_kinds[resume.mode] == "events"
        if streams and body and problem is None and sse.first_event(body) is None:
            raise UpstreamUnrecognised("The agent's response is not an event stream.")
        if resume.mode is not Mode.BACKGROUND:
            return started
        error = {"message": problem.text} if problem else Task(_task_in(body)).error
        return started if error is None else replace(started, status="error", error=error)

    def cancel(self, resume: Resume, started: Started[A2AContext]) -> Request | None:
        """Cancel the task: an agent continues when its client disconnects."""
        return _binding(started).cancel(started.run_id)

    def join(self, resume: Resume, started: Started[A2AContext]) -> Request | None:
        """Stream the task's events from now on; the current SDK sends the task's current state first."""
        agent = started.context.agent
        return agent.binding.subscribe(started.run_id) if agent.streams else None

    def location(self, resume: Resume, started: Started[A2AContext]) -> str | None:
        """`/tasks/{id}` with REST; JSON-RPC has no path for a task."""
        return _binding(started).location(started.run_id)

    def run(self, resume: Resume, started: Started[A2AContext]) -> Request | None:
        """Read the task."""
        return _binding(started).task(started.run_id)

    def has_ended(self, response: Response) -> bool:
        """True if the task is no longer working, or the response is an error."""
        return errors.problem(response) is not None or not Task(_task_in(response.body)).works

    def ended(self, body: bytes) -> Ended:
        """Return the task's values and error, or the error of an agent that failed."""
        problem = errors.problem(Response(200, (), body.strip()))
        if problem is not None:
            return Ended(error={"message": problem.text})
        task = Task(_task_in(body))
        return Ended(task.values, task.error)

    def reframer(self, resume: Resume, started: Started[A2AContext]) -> Reframer:
        """Return a reframer that starts with the task as it was before the resume."""
        context = started.context
        return A2aStream(Emitter(resume.body.stream_modes), Task(context.task), context.message)

    def locate(self, vendor: VendorResume) -> Steps[str]:
        """Read the task, which has the id of its context."""
        binding = (yield from self._agent()).binding
        (answer,) = yield from Ask((binding.task(str(vendor.run_id)),))
        return Task(binding.result(answer)).context_id

    def watch(self, method: str, path: str) -> Observer | None:
        """Observe every POST, since JSON-RPC may be at any path."""
        return A2aObserver() if method == "POST" else None


def _of_run(resume: Resume, tasks: list[Task]) -> list[Task]:
    """Return the task that the client names, if it names one, or else all tasks. Raises `ThreadNotFound`."""
    if resume.run_id is None:
        return tasks
    named = [task for task in tasks if task.id == resume.run_id]
    if not named:
        raise ThreadNotFound(f"The agent has no task {resume.run_id} in context {resume.thread_id}.")
    return named


def _found(tasks: list[Task], agent: Agent, resume: Resume | None) -> Found[A2AContext]:
    """Derive the thread's state from the tasks of its context.

    While one task works, a question of another task counts as pending only if `resume` names it: otherwise a late
    answer for one task would reach the other.
    """
    last = newest(tasks)
    waiting: dict[str | None, Task] = {task.question.id: task for task in tasks if task.waits}
    status: ThreadStatus = "idle"
    if waiting and (resume is None or not last.works or _names(resume, waiting)):
        status = "interrupted"
    elif last.works:
        status = "busy"
    elif last.failed:
        status = "error"
    return Found(
        status=status,
        interrupts=tuple(task.question for task in waiting.values()),
        past_ids=frozenset().union(*(task.question_ids for task in tasks)),
        agent_id=agent.name,
        error=last.error,
        updated_at=last.updated_at,
        run_id=last.id,
        context=A2AContext(agent, waiting),
        response_kinds=agent.response_kinds,
    )


def _names(resume: Resume, waiting: Collection[str | None]) -> bool:
    """True if the resume names the question that it answers, with a pin or with a key of its answer."""
    answer = resume.body.input
    return resume.body.interrupt_id is not None or (isinstance(answer, dict) and not set(waiting).isdisjoint(answer))


def _binding(started: Started[A2AContext]) -> wire.Binding:
    return started.context.agent.binding


def _task_in(body: bytes) -> Json:
    value = Response(200, (), body.strip()).json
    kind, task = wire.kind_and_content(wire.unwrapped(value)) if isinstance(value, dict) else ("", {})
    if kind not in ("task", "message"):
        raise UpstreamUnrecognised("The agent's response contains no task.")
    # An agent may respond with a message instead of a task.
    return {"status": {"state": "completed"}, "history": [task]} if kind == "message" else task
