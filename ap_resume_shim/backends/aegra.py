"""Aegra: LangGraph's vocabulary on PostgreSQL, with other habits.

It has no mutual exclusion (two resumes that pass its check both run), answers 400 for "not interrupted", and does not
take a resume at all once a run was cancelled or failed: such a thread is armed again first.

The newest run tells the status here: it is committed together with the thread's, before the answer's first byte, so
that a lookup made after the acceptance of a resume sees it.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from typing import Any

from ap_resume_shim.backends import langgraph_wire as wire
from ap_resume_shim.core.dialect import Dialect, Found, GoOn, Lookup, Marks, Started, ThreadStatus, Verdict
from ap_resume_shim.core.errors import ResumeError, UpstreamError
from ap_resume_shim.core.exchange import Ask, Ended, Request, Response, Step
from ap_resume_shim.core.protocol import Resume
from ap_resume_shim.core.reading import error_text, read_lookup, read_refusal

_STATUS: dict[str, ThreadStatus] = {
    "pending": "busy",
    "running": "busy",
    "interrupted": "interrupted",
    "error": "error",
    "timeout": "error",
}
_GO_ON: dict[str, Any] = {"checkpoint": {}}
"""The latest checkpoint: continues a breakpoint, retries a failed step with its first answer, keeps interrupt ids."""
_ANNOUNCED = "announced"
_CARRIES = wire.Carries("Aegra", wire.UINT64)


class Aegra(Dialect):
    """`POST /threads/{thread_id}/runs` with `command.resume`, keyed by interrupt id."""

    name = "aegra"
    thread_is = "The thread's own id: any string, case-sensitive."
    unsupported = frozenset({"webhook"})  # accepted by the server, and never called
    family = "a command in the create-run body"
    marks = (Marks(info={"/name": "Aegra"}),)
    reserved = wire.RESERVED
    forwards_extra = True
    accepts_at_head = True
    commit = "with_answer"
    interrupt_id_form = wire.INTERRUPT_ID

    def lookup(self, resume: Resume, *, agent: bool = True) -> Lookup:
        """State and newest runs, side by side: the thread itself shows neither interrupts nor values.

        After a run the state is enough.
        """
        wanted = resume.body.agent_id if agent else None
        requests = [Request.get(wire.thread_path(resume) + "/state")]
        if agent:
            requests.append(Request.get(wire.thread_path(resume) + "/runs?limit=10"))
        if wanted is not None:
            requests.append(wire.assistant_lookup(wanted))
        answers = yield Ask(tuple(requests))
        state = read_lookup(answers[0])
        if not agent:
            return _at_rest(state)
        runs: list[dict[str, Any]] = read_lookup(answers[1])
        last = wire.newest(runs) or {}
        agent_id = last.get("assistant_id")
        if wanted is not None:
            assistant = wire.read_assistant(answers[2], wanted)
            if agent_id not in (None, assistant.get("assistant_id")):
                (answer,) = yield Ask((wire.assistant_lookup(str(agent_id)),))
                thread_graph = wire.read_assistant(answer, str(agent_id)).get("graph_id")
                wire.same_graph_or_refuse(wanted, assistant.get("graph_id"), thread_graph)
            agent_id = assistant.get("assistant_id") or wanted
        rest = _at_rest(state)
        busy = any(wire.is_active(run) for run in runs)
        return replace(
            rest,
            status="busy" if busy else _STATUS.get(str(last.get("status")), "idle"),
            breakpoint=rest.breakpoint and last.get("status") == "success",
            agent_id=agent_id,
            error=last.get("error_message") or rest.error,
            updated_at=last.get("updated_at"),
            run_id=last.get("run_id"),
            memory=_ANNOUNCED if _announced(last) else None,
        )

    def check(self, resume: Resume, found: Found, verdict: Verdict) -> None:
        """PostgreSQL refuses NUL characters after the agent ran, and integers of more than 64 bits."""
        wire.check_agent(found)
        _CARRIES.check(verdict)

    def prepare(self, resume: Resume, found: Found, verdict: Verdict) -> Generator[Step, Any, tuple[Found, Verdict]]:
        """Arm a thread again that a cancelled or failed run left behind: run it up to its question again."""
        if isinstance(verdict, GoOn) or found.memory == _ANNOUNCED:
            return found, verdict
        (answer,) = yield Ask((Request.get(wire.thread_path(resume)),))
        if read_lookup(answer).get("status") == "interrupted":
            return found, verdict
        body = {"assistant_id": found.agent_id, **_GO_ON}
        (answer,) = yield Ask((Request.post(wire.thread_path(resume) + "/runs/wait", body),))
        if not answer.ok:
            raise UpstreamError(
                f"The thread could not be armed again after its last run: {error_text(answer)}",
                {"resume_state": "not_sent"},
            )
        return found, verdict

    def resume(self, resume: Resume, found: Found, verdict: Verdict) -> Request:
        """`input: null` is 422 there; the empty checkpoint is what it is elsewhere."""
        return wire.create_request(resume, found, wire.answer(verdict, go_on=_GO_ON))

    def refusal(self, response: Response) -> ResumeError:
        """400 "Cannot resume: thread is not in interrupted state", among others."""
        return read_refusal(response, wire.RULES)

    def started(self, response: Response, body: bytes, resume: Resume, found: Found) -> Started | None:
        """Wait and stream name the run in `Content-Location`, background in its body."""
        return wire.read_started(response, body, resume, found)

    def cancel(self, resume: Resume, started: Started) -> Request | None:
        """`on_disconnect` is ignored on a wait."""
        return Request.post(wire.run_path(resume, started.run_id) + "/cancel")

    def join(self, resume: Resume, started: Started) -> Request | None:
        """All of it from its beginning, while the run goes on."""
        return Request("GET", wire.run_path(resume, started.run_id) + "/stream", accept="text/event-stream")

    def location(self, resume: Resume, started: Started) -> str:
        """`/threads/{thread_id}/runs/{run_id}`."""
        return wire.run_path(resume, started.run_id)

    def run(self, resume: Resume, started: Started) -> Request:
        """The run itself."""
        return Request.get(wire.run_path(resume, started.run_id))

    def has_ended(self, response: Response) -> bool:
        """Neither pending nor running."""
        return wire.run_has_ended(response)

    def ended(self, body: bytes) -> Ended:
        """Values, and `__interrupt__` or `__error__` beside them."""
        return wire.read_ended(body)

    def delete(self, resume: Resume) -> Request | None:
        """Answered with 200 there."""
        return Request("DELETE", wire.thread_path(resume))


def _at_rest(state: dict[str, Any]) -> Found:
    """What the state alone tells."""
    pending, answered = wire.read_tasks(state)
    error = wire.task_error(state)
    return Found(
        status="interrupted" if pending else "idle" if error is None else "error",
        interrupts=pending,
        answered=answered,
        breakpoint=bool(state.get("next")) and not pending and error is None,
        values=state.get("values"),
        error=error,
        updated_at=state.get("created_at"),
    )


def _announced(run: dict[str, Any]) -> bool:
    """Whether the run stopped at a question, not cancelled: both are `interrupted` (recording `cancelled`)."""
    output = run.get("output")
    return run.get("status") == "interrupted" and isinstance(output, dict) and bool(output.get("__interrupt__"))
