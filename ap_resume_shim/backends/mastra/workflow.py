"""Mastra's workflows: a run stops in a step, and the step is resumed with its answer.

The server accepts one of several resumes, atomically (its `claimResume`): the run's status leaves `suspended` before
the step continues. But `resume-no-wait` responds 200 to a refused resume as well (@mastra/server 1.67.0). So in
background mode the shim reads the start of `resume-stream`, which shows the acceptance; the run continues when the
shim disconnects.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from ap_resume_shim.backends.mastra import messages as wire
from ap_resume_shim.backends.mastra.conventions import ResumeWorkflow
from ap_resume_shim.backends.mastra.workflow_steps import QUESTION_ID, StepQuestion, outcome, questions_of
from ap_resume_shim.backends.mastra.workflow_stream import Records, WorkflowStream, refusal_in
from ap_resume_shim.core import strictjson
from ap_resume_shim.core.dialect import Decision, Dialect, Found, Lookup, ResponseKind, Started, ThreadStatus
from ap_resume_shim.core.dialect_helpers import error_text
from ap_resume_shim.core.errors import InvalidRequest, ResumeError, ThreadNotFound
from ap_resume_shim.core.event_emitter import Emitter
from ap_resume_shim.core.http import Request, Response, segment
from ap_resume_shim.core.listing import Batch, Candidate, Listing, Page, collect
from ap_resume_shim.core.protocol import Mode, Resume
from ap_resume_shim.core.reframer import Ended, Reframer
from ap_resume_shim.core.steps import Ask, Steps
from ap_resume_shim.core.typed_answers import check_answer

_STATUS: dict[str, ThreadStatus] = {
    "running": "busy",
    "waiting": "busy",  # sleeps until a time or an event
    "suspended": "interrupted",
    "failed": "error",
    "tripwire": "error",
    "canceled": "error",
}
"""Other statuses (pending, success, bailed, paused, skipped) are idle. `pending` was created but never started."""


@dataclass(frozen=True, slots=True)
class MastraContext:
    """The questions of a run, and its workflow."""

    workflow: str
    created_at: str | None
    questions: tuple[StepQuestion, ...] = ()
    """Pending questions; after the resume, those that it did not answer."""
    schemas: dict[str, Any] = field(default_factory=dict)
    """Schemas of the answers, by step."""
    answering: StepQuestion | None = None


class Mastra(Dialect[MastraContext]):
    """`POST /workflows/{workflow}/resume-async` and `resume-stream`, with the step that is answered."""

    name = "mastra"
    family = "a request to the run that names the step"
    thread_is = "The run's id: any string, case-sensitive."
    event_types = frozenset({"text/plain", "text/event-stream"})
    response_kinds: dict[Mode, ResponseKind] = {Mode.BACKGROUND: "events", Mode.WAIT: "result", Mode.STREAM: "events"}
    options = {"prefix": wire.PREFIX}
    limits = (
        "A resume answers one question.",
        "A cancelled run continues until its step ends, or checks its `abortSignal`.",
        "If a `foreach` asks several questions at once, a stream contains only the first.",
        "A step that failed after its answer cannot be retried.",
    )
    unsupported = frozenset({"webhook", "config", "on_completion"})
    interrupt_id_form = QUESTION_ID
    commit = "with_answer"
    """The status leaves `suspended` atomically before the step continues, so the server refuses a second resume."""

    def __init__(self, prefix: str = "/api") -> None:
        """`prefix` is the path below which the server's API is."""
        self._prefix = wire.prefix(prefix)
        self.conventions = (ResumeWorkflow(self._prefix),)

    def inspect_thread(self, resume: Resume, *, full: bool = True) -> Lookup[MastraContext]:
        """Read the run, in the workflow that `agent_id` names or in all in parallel, and the schemas of the answers."""
        workflow, run = yield from self._find(resume)
        return (yield from self._found(resume, workflow, run, {}, full=full))

    def refresh_thread(
        self, resume: Resume, before: Found[MastraContext], *, full: bool = False
    ) -> Lookup[MastraContext]:
        """Read the run again, in the workflow that had it. Raises `ThreadNotFound` if it is gone."""
        context = before.context
        (answer,) = yield from Ask((Request.get(self._run_path(context.workflow, resume)),))
        if _has_no_run(answer):
            raise ThreadNotFound(f"The workflow {context.workflow!r} has no run {resume.thread_id} any longer.")
        return (yield from self._found(resume, context.workflow, wire.read(answer), context.schemas, full=full))

    def _found(
        self, resume: Resume, workflow: str, run: dict[str, Any], schemas: dict[str, Any], *, full: bool
    ) -> Lookup[MastraContext]:
        status = _STATUS.get(run["status"], "idle")
        questions = questions_of(run["steps"]) if status == "interrupted" else ()
        if full and questions and not schemas:
            schemas = yield from self._schemas(workflow)
        questions = tuple(replace(question, schema=schemas.get(question.step)) for question in questions)
        ended = outcome(run)
        return Found(
            status,
            tuple(question.interrupt for question in questions),
            agent_id=workflow,
            values=ended.values,
            error=ended.error,
            updated_at=run.get("updatedAt"),
            run_id=resume.thread_id,
            context=MastraContext(workflow, run.get("createdAt"), questions, schemas),
        )

    def _find(self, resume: Resume) -> Steps[tuple[str, dict[str, Any]]]:
        names = [resume.body.agent_id] if resume.body.agent_id is not None else (yield from self._workflows())
        answers = (yield from Ask(tuple(Request.get(self._run_path(name, resume)) for name in names))) if names else ()
        found = {name: wire.read(item) for name, item in zip(names, answers, strict=True) if not _has_no_run(item)}
        if len(found) > 1:
            raise InvalidRequest(
                f"Several workflows have a run {resume.thread_id}: {', '.join(found)}. Name one as `agent_id`.",
                {"field": "agent_id"},
            )
        if not found:
            subject = f"The workflow {names[0]!r}" if resume.body.agent_id is not None else "The backend"
            raise ThreadNotFound(f"{subject} has no run {resume.thread_id}. Check `thread_id` and the credentials.")
        return next(iter(found.items()))

    def _workflows(self) -> Steps[list[str]]:
        (answer,) = yield from Ask((Request.get(f"{self._prefix}/workflows?partial=true"),))
        return list(wire.read(answer))

    def _schemas(self, workflow: str) -> Steps[dict[str, Any]]:
        """Read the schemas of the answers, by step; each is a JSON text in the format of superjson."""
        (answer,) = yield from Ask((Request.get(self._path(workflow)),))
        workflow_info = wire.read(answer)
        if not (workflow_info.get("options") or {}).get("validateInputs", True):
            return {}
        steps: dict[str, Any] = workflow_info.get("allSteps") or {}
        schemas = {name: step["resumeSchema"] for name, step in steps.items() if step.get("resumeSchema")}
        return {name: strictjson.read(schema).get("json") for name, schema in schemas.items()}

    def list_waiting(self, page: Page) -> Steps[Listing]:
        """List the suspended runs of each workflow."""
        names = [page.agent_id] if page.agent_id is not None else sorted((yield from self._workflows()))
        return (yield from collect(page, [_Suspended(name, self) for name in names], spent=1, notes=(wire.SHARED,)))

    def suspended(self, workflow: str, offset: int, room: int) -> Steps[Batch]:
        """List suspended runs of a workflow, with the schemas of their answers."""
        path = f"{self._path(workflow)}/runs?status=suspended&limit={room}&offset={offset}"
        (answer,) = yield from Ask((Request.get(path),))
        runs = wire.read(answer)["runs"]
        schemas = (yield from self._schemas(workflow)) if runs else {}
        candidates = [Candidate(run["runId"], (workflow, schemas)) for run in runs]
        return Batch(candidates, offset + room if len(runs) >= room else None)

    def read_candidate(self, resume: Resume, candidate: Candidate) -> Lookup[MastraContext]:
        """Read the run. Raises `ThreadNotFound` if it is gone."""
        workflow, schemas = candidate.row
        return self.refresh_thread(resume, Found("idle", context=MastraContext(workflow, None, schemas=schemas)))

    def check(self, resume: Resume, found: Found[MastraContext], verdict: Decision) -> None:
        """Refuse several answers, and values that the step would not receive unchanged."""
        answer = wire.one(verdict, found)
        wire.CARRIES.check(answer)
        check_answer(wire.answered(found.context.questions, verdict).interrupt, answer, wire.ENFORCED)

    def prepare(
        self, resume: Resume, found: Found[MastraContext], verdict: Decision
    ) -> Steps[tuple[Found[MastraContext], Decision]]:
        """Select the question that is answered."""
        yield from ()
        question = wire.answered(found.context.questions, verdict)
        left = tuple(other for other in found.context.questions if other != question)
        context = replace(found.context, questions=left, answering=question)
        return replace(found, interrupts=(question.interrupt,), context=context), verdict

    def resume(self, resume: Resume, found: Found[MastraContext], verdict: Decision) -> Request:
        """Build the request for the step that is answered.

        Without `forEachIndex`, a `foreach` would pass the answer to all of its items.
        """
        question = found.context.answering
        assert question is not None, "prepared for one question"
        body: dict[str, Any] = {"step": list(question.path), "resumeData": wire.one(verdict, found)}
        if question.item is not None:
            body["forEachIndex"] = question.item
        operation = "resume-async" if resume.mode is Mode.WAIT else "resume-stream"
        return Request.post(f"{self._path(found.context.workflow)}/{operation}?runId={segment(resume.thread_id)}", body)

    def refusal(self, response: Response) -> ResumeError:
        """Read an error status: 400 for an answer that its schema rejects, 500 for a run that does not wait."""
        return wire.refusal(response)

    def begun(self, head: bytes) -> bool:
        """True once a record other than `workflow-start` has arrived, which precedes the server's check of the run."""
        return any(record.get("type") != "workflow-start" for record in Records().feed(head))

    def refused(self, resume: Resume, response: Response) -> ResumeError | None:
        """Return the error of a stream that ends without a step; its text is the one of an error response."""
        if self.response_kinds[resume.mode] != "events":
            return None
        text = next(filter(None, map(refusal_in, Records().feed(response.body))), None)
        return None if text is None else wire.in_band(text)

    def started(
        self, response: Response, body: bytes, resume: Resume, found: Found[MastraContext]
    ) -> Started[MastraContext] | None:
        """Return the run that waited; its id does not change."""
        context = found.context
        return Started(resume.thread_id, context.workflow, context.created_at, context=context)

    def cancel(self, resume: Resume, started: Started[MastraContext]) -> Request | None:
        """Cancel the run. Its status is `canceled` at once; a working step is notified by its `abortSignal`."""
        return Request.post(self._run_path(started.context.workflow, resume) + "/cancel")

    def location(self, resume: Resume, started: Started[MastraContext]) -> str | None:
        """`/workflows/{workflow}/runs/{run}`."""
        return self._run_path(started.context.workflow, resume)

    def ended(self, body: bytes) -> Ended:
        """Read the result of a wait, which is the run."""
        return outcome(Response(200, (), body).json)

    def reframer(self, resume: Resume, started: Started[MastraContext]) -> Reframer:
        """Convert the records of the stream, which are no Server-Sent Events."""
        context = started.context
        return WorkflowStream(Emitter(resume.body.stream_modes), context.questions, context.schemas)

    def _path(self, workflow: str) -> str:
        return f"{self._prefix}/workflows/{segment(workflow)}"

    def _run_path(self, workflow: str, resume: Resume) -> str:
        return f"{self._path(workflow)}/runs/{segment(resume.thread_id)}"


@dataclass(frozen=True, slots=True)
class _Suspended:
    """The suspended runs of one workflow, as a part of a list."""

    name: str
    dialect: Mastra
    per_search = 2
    """The list, and the workflow with its schemas."""
    per_candidate = 1

    def search(self, offset: int, room: int) -> Steps[Batch]:
        """List the next runs."""
        return self.dialect.suspended(self.name, offset, room)


def _has_no_run(response: Response) -> bool:
    """True if the workflow has no such run; an unknown workflow is 404 as well, with another text."""
    return response.status == 404 and "run not found" in error_text(response)
