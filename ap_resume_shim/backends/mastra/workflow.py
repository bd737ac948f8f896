"""Mastra's workflows: a run stops in a step, and the step is resumed with its answer.

The server lets one resume of several through, atomically (its `claimResume`): a run's status leaves `suspended` before
the step goes on. What it says about that is another matter. `resume-no-wait` answers 200 whatever becomes of
the answer (@mastra/server 1.67.0), so that a resume in the background reads the beginning of `resume-stream`, which
tells; who leaves that stream does not stop the run.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from ap_resume_shim.backends.mastra import messages as wire
from ap_resume_shim.backends.mastra.workflow_steps import QUESTION_ID, StepQuestion, outcome, questions_of
from ap_resume_shim.backends.mastra.workflow_stream import Records, WorkflowStream, refusal_in
from ap_resume_shim.core import strictjson
from ap_resume_shim.core.dialect import Decision, Dialect, Found, Lookup, ResponseKind, Started, ThreadStatus
from ap_resume_shim.core.dialect_helpers import error_text
from ap_resume_shim.core.errors import InvalidRequest, ResumeError, ThreadNotFound
from ap_resume_shim.core.event_emitter import Emitter
from ap_resume_shim.core.http import Request, Response, segment
from ap_resume_shim.core.protocol import Mode, Resume
from ap_resume_shim.core.reframer import Ended, Reframer
from ap_resume_shim.core.steps import Ask, Steps
from ap_resume_shim.core.typed_answers import check_answer

_STATUS: dict[str, ThreadStatus] = {
    "running": "busy",
    "waiting": "busy",  # asleep, until a time or an event
    "suspended": "interrupted",
    "failed": "error",
    "tripwire": "error",
    "canceled": "error",
}
"""Others (pending, success, bailed, paused, skipped) are at rest. `pending` was created and never started."""


@dataclass(frozen=True, slots=True)
class MastraContext:
    """What the lookup leaves for the resume."""

    workflow: str
    created_at: str | None
    questions: tuple[StepQuestion, ...] = ()
    """Those that are pending; of a run that was resumed, those that it leaves as they are."""
    schemas: dict[str, Any] = field(default_factory=dict)
    """Of the answers, by step."""
    answering: StepQuestion | None = None


class Mastra(Dialect[MastraContext]):
    """`POST /workflows/{workflow}/resume-async` and `resume-stream`, with the step that is answered."""

    name = "mastra"
    family = "a request to the run, which names the step"
    thread_is = "The run's id: any string, case-sensitive."
    event_types = frozenset({"text/plain", "text/event-stream"})
    response_kinds: dict[Mode, ResponseKind] = {Mode.BACKGROUND: "events", Mode.WAIT: "result", Mode.STREAM: "events"}
    options = {"prefix": wire.PREFIX}
    limits = (
        "Of several questions, one is answered at a time.",
        "A run that is stopped goes on until its step ends, or looks at its `abortSignal`.",
        "Of the questions that a `foreach` asks at once, a stream tells the first.",
        "A step that failed after its answer cannot be retried.",
    )
    unsupported = frozenset({"webhook", "config", "on_completion"})
    interrupt_id_form = QUESTION_ID
    commit = "with_answer"
    """The status leaves `suspended` before the step goes on, atomically: the server refuses a second resume itself."""

    def __init__(self, prefix: str = "/api") -> None:
        """See `options`."""
        self._prefix = wire.prefix(prefix)

    def lookup(self, resume: Resume, *, agent: bool = True) -> Lookup[MastraContext]:
        """The run, in the workflow that is named, else in all of them, side by side; and what its steps take."""
        workflow, run = yield from self._find(resume)
        return (yield from self._found(resume, workflow, run, {}, agent=agent))

    def look_again(self, resume: Resume, before: Found[MastraContext], *, agent: bool = False) -> Lookup[MastraContext]:
        """The run, in the workflow that had it."""
        context = before.context
        (answer,) = yield from Ask((Request.get(self._run_path(context.workflow, resume)),))
        if _has_no_run(answer):
            raise ThreadNotFound(f"The workflow {context.workflow!r} has no run {resume.thread_id} any longer.")
        return (yield from self._found(resume, context.workflow, wire.read(answer), context.schemas, agent=agent))

    def _found(
        self, resume: Resume, workflow: str, run: dict[str, Any], schemas: dict[str, Any], *, agent: bool
    ) -> Lookup[MastraContext]:
        status = _STATUS.get(run["status"], "idle")
        questions = questions_of(run["steps"]) if status == "interrupted" else ()
        if agent and questions and not schemas:
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
        there = {name: wire.read(told) for name, told in zip(names, answers, strict=True) if not _has_no_run(told)}
        if len(there) > 1:
            raise InvalidRequest(
                f"Several workflows have a run {resume.thread_id}: {', '.join(there)}. Name one as `agent_id`.",
                {"field": "agent_id"},
            )
        if not there:
            whose = f"The workflow {names[0]!r}" if resume.body.agent_id is not None else "The backend"
            raise ThreadNotFound(
                f"{whose} has no run {resume.thread_id}. Check `thread_id`, and whose credentials you send."
            )
        return next(iter(there.items()))

    def _workflows(self) -> Steps[list[str]]:
        (answer,) = yield from Ask((Request.get(f"{self._prefix}/workflows?partial=true"),))
        return list(wire.read(answer))

    def _schemas(self, workflow: str) -> Steps[dict[str, Any]]:
        """They are told as JSON in JSON, in the envelope of superjson."""
        (answer,) = yield from Ask((Request.get(self._path(workflow)),))
        told = wire.read(answer)
        if not (told.get("options") or {}).get("validateInputs", True):
            return {}
        steps: dict[str, Any] = told.get("allSteps") or {}
        schemas = {name: step["resumeSchema"] for name, step in steps.items() if step.get("resumeSchema")}
        return {name: strictjson.read(schema).get("json") for name, schema in schemas.items()}

    def check(self, resume: Resume, found: Found[MastraContext], verdict: Decision) -> None:
        """One answer, which its step takes as it is."""
        answer = wire.one(verdict, found)
        wire.CARRIES.check(answer)
        check_answer(wire.answered(found.context.questions, verdict).interrupt, answer, wire.ENFORCED)

    def prepare(
        self, resume: Resume, found: Found[MastraContext], verdict: Decision
    ) -> Steps[tuple[Found[MastraContext], Decision]]:
        """From here on it is about the one question."""
        yield from ()
        question = wire.answered(found.context.questions, verdict)
        left = tuple(other for other in found.context.questions if other != question)
        context = replace(found.context, questions=left, answering=question)
        return replace(found, interrupts=(question.interrupt,), context=context), verdict

    def resume(self, resume: Resume, found: Found[MastraContext], verdict: Decision) -> Request:
        """A `foreach` that is not told which of its items is meant would give the answer to all of them."""
        question = found.context.answering
        assert question is not None, "prepared for one question"
        body: dict[str, Any] = {"step": list(question.path), "resumeData": wire.one(verdict, found)}
        if question.item is not None:
            body["forEachIndex"] = question.item
        way = "resume-async" if resume.mode is Mode.WAIT else "resume-stream"
        return Request.post(f"{self._path(found.context.workflow)}/{way}?runId={segment(resume.thread_id)}", body)

    def refusal(self, response: Response) -> ResumeError:
        """400 for an answer that its schema refuses, 500 for a run that does not wait."""
        return wire.refusal(response)

    def begun(self, head: bytes) -> bool:
        """The first record says nothing: it comes before the server looks at the run."""
        return any(record.get("type") != "workflow-start" for record in Records().feed(head))

    def refused(self, resume: Resume, response: Response) -> ResumeError | None:
        """A stream that ends without a step. The same text as without a stream."""
        if self.response_kinds[resume.mode] != "events":
            return None
        told = next(filter(None, map(refusal_in, Records().feed(response.body))), None)
        return None if told is None else wire.in_band(told)

    def started(
        self, response: Response, body: bytes, resume: Resume, found: Found[MastraContext]
    ) -> Started[MastraContext] | None:
        """The run that waited goes on under its own name."""
        context = found.context
        return Started(resume.thread_id, context.workflow, context.created_at, context=context)

    def cancel(self, resume: Resume, started: Started[MastraContext]) -> Request | None:
        """The status is `canceled` at once; a step that works hears of it by its `abortSignal`."""
        return Request.post(self._run_path(started.context.workflow, resume) + "/cancel")

    def location(self, resume: Resume, started: Started[MastraContext]) -> str | None:
        """`/workflows/{workflow}/runs/{run}`."""
        return self._run_path(started.context.workflow, resume)

    def ended(self, body: bytes) -> Ended:
        """The run, as it is told to who waits for it."""
        return outcome(Response(200, (), body).json)

    def reframer(self, resume: Resume, started: Started[MastraContext]) -> Reframer:
        """Records that are no Server-Sent Events."""
        context = started.context
        return WorkflowStream(Emitter(resume.body.stream_modes), context.questions, context.schemas)

    def _path(self, workflow: str) -> str:
        return f"{self._prefix}/workflows/{segment(workflow)}"

    def _run_path(self, workflow: str, resume: Resume) -> str:
        return f"{self._path(workflow)}/runs/{segment(resume.thread_id)}"


def _has_no_run(response: Response) -> bool:
    """Not so of an unknown workflow, which is 404 as well."""
    return response.status == 404 and "run not found" in error_text(response)
