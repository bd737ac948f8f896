"""Base class of the dialects for LangGraph's servers and Aegra: everything after the resume was accepted."""

from __future__ import annotations

from ap_resume_shim.backends.langgraph import messages as wire
from ap_resume_shim.backends.langgraph.conventions import A2aRoute, Commands, CommandSocket, CreateRun, ThreadCron
from ap_resume_shim.backends.langgraph.state import INTERRUPT_ID
from ap_resume_shim.core.dialect import C, Dialect, Found, Started
from ap_resume_shim.core.dialect_helpers import read_refusal
from ap_resume_shim.core.errors import ResumeError
from ap_resume_shim.core.http import Request, Response
from ap_resume_shim.core.protocol import Resume
from ap_resume_shim.core.reframer import Ended


class LangGraphFamily(Dialect[C]):
    """`POST /threads/{thread_id}/runs` with `command.resume`, keyed by interrupt id."""

    family = "a command in the create-run body"
    reserved = wire.RESERVED
    redirecting = wire.REDIRECTING
    way_out = wire.WAY_OUT
    vocabulary = wire.VOCABULARY
    forwards_extra = True
    accepts_at_head = True
    starts_runs = True
    commit = "with_answer"
    interrupt_id_form = INTERRUPT_ID
    conventions = (CreateRun(), Commands(), CommandSocket(), ThreadCron(), A2aRoute())

    def refusal(self, response: Response) -> ResumeError:
        """Read an error status.

        A busy thread is 422 on the JavaScript server and 409 on the others; "not in interrupted state" is 400 on Aegra.
        """
        return read_refusal(response, wire.RULES)

    def started(self, response: Response, body: bytes, resume: Resume, found: Found[C]) -> Started[C] | None:
        """Read the run: from `Content-Location` in wait and stream mode, from the body in background mode."""
        return wire.read_started(response, body, resume, found)

    def cancel(self, resume: Resume, started: Started[C]) -> Request | None:
        """Cancel the run by its id, since the JavaScript server and Aegra ignore `on_disconnect` on a wait."""
        return Request.post(wire.run_path(resume, started.run_id) + "/cancel")

    def join(self, resume: Resume, started: Started[C]) -> Request | None:
        """Join the run's stream.

        Aegra sends all events from the beginning; LangGraph's servers send only new ones, unless the run is resumable.
        """
        return Request("GET", wire.run_path(resume, started.run_id) + "/stream", accept="text/event-stream")

    def location(self, resume: Resume, started: Started[C]) -> str:
        """`/threads/{thread_id}/runs/{run_id}`."""
        return wire.run_path(resume, started.run_id)

    def run(self, resume: Resume, started: Started[C]) -> Request:
        """Read the run. LangGraph's `join` would respond with the thread's values instead of the run's."""
        return Request.get(wire.run_path(resume, started.run_id))

    def has_ended(self, response: Response) -> bool:
        """True if the run is neither pending nor running."""
        return wire.run_has_ended(response)

    def ended(self, body: bytes) -> Ended:
        """Read the values and the error. Older servers omit the values of a run that stopped at a question."""
        return wire.read_ended(body)

    def delete(self, resume: Resume) -> Request | None:
        """Delete the thread, since LangGraph's servers ignore `on_completion`."""
        return Request("DELETE", wire.thread_path(resume))
