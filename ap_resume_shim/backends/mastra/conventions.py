"""How Mastra's client answers: a request to the workflow's run, or to the agent.

Its client sends a request again after any 5xx, and shows the whole body of a refusal.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ap_resume_shim.core.errors import ResumeError
from ap_resume_shim.core.protocol import Mode
from ap_resume_shim.core.steps import Reply
from ap_resume_shim.core.vendor_resume import ClientRequest, Convention, VendorResume, never_5xx

if TYPE_CHECKING:
    from ap_resume_shim.core.dialect import Found

_OPERATIONS = {
    "resume": Mode.BACKGROUND,
    "resume-no-wait": Mode.BACKGROUND,
    "resume-async": Mode.WAIT,
    "resume-stream": Mode.STREAM,
}


class _MastraConvention(Convention):
    checks_value = False
    resends = True

    def __init__(self, prefix: str, path: str) -> None:
        """`path` is a pattern below the API's prefix."""
        self._path = re.compile(re.escape(prefix) + path)

    def matches(self, method: str, path: str) -> bool:
        """Return True for the routes that resume."""
        return method == "POST" and self._path.fullmatch(path) is not None

    def refusal(self, vendor: VendorResume, error: ResumeError) -> Reply:
        """Return the error as the server does, in `error`."""
        return never_5xx(error, {"error": error.message, **error.body()})


class ResumeWorkflow(_MastraConvention):
    """`POST /workflows/{workflow}/resume`, `resume-async`, `resume-no-wait` or `resume-stream`.

    The run, which is the thread, is `runId` in the query.
    """

    name = "mastra-workflow"

    def __init__(self, prefix: str) -> None:
        """`prefix` is the path below which the API is."""
        super().__init__(prefix, r"/workflows/([^/]+)/(resume|resume-async|resume-no-wait|resume-stream)")

    def read(self, request: ClientRequest) -> VendorResume | None:
        """Return the answer; None without a run, which the server refuses."""
        path, run = self._path.fullmatch(request.path), request.parameters.get("runId")
        if path is None or not run:
            return None
        fields = {"input": request.object.get("resumeData"), "agent_id": path[1]}
        return VendorResume(self, request, run, _OPERATIONS[path[2]], fields)

    def addressed(self, vendor: VendorResume, found: Found[Any]) -> Mapping[str, Any]:
        """Return the answer with the id of the question of its step; the id has the time, since a step may ask again.

        An answer without a step, or for all items of a `foreach`, names no question.
        """
        body = vendor.request.object
        name, item = _step(body.get("step")), body.get("forEachIndex")
        if name is None or not found.interrupts:
            return vendor.fields
        asking = [
            question.interrupt.id
            for question in found.context.questions
            if (question.step == name or question.step.startswith(f"{name}.")) and item in (None, question.item)
        ]
        return vendor.fields if len(asking) > 1 else {**vendor.fields, "interrupt_id": asking[0] if asking else name}

    def commits_late(self, vendor: VendorResume) -> bool:
        """Return True for the operations that respond before the server has checked the run."""
        return vendor.mode is Mode.BACKGROUND


def _step(step: Any) -> str | None:
    """Return the name of a step, which may be a path of workflows; None if the client names none."""
    if isinstance(step, list) and all(isinstance(part, str) for part in step):
        step = ".".join(step)
    return step if isinstance(step, str) and step else None


class ResumeAgent(_MastraConvention):
    """`POST /agents/{agent}/approve-tool-call`, `decline-tool-call`, `resume-stream` or `send-tool-approval`.

    Of these, only the last always names the thread; the others name the run. An approval in a network of agents is not
    read as an answer: its call is not in the thread's messages.
    """

    name = "mastra-agent"

    def __init__(self, prefix: str) -> None:
        """`prefix` is the path below which the API is."""
        super().__init__(
            prefix,
            r"/agents/([^/]+)/(approve-tool-call|decline-tool-call|resume-stream|send-tool-approval)"
            r"(-generate|-until-idle|)",
        )

    def read(self, request: ClientRequest) -> VendorResume | None:
        """Return the answer; None without a run or a thread, which the server refuses."""
        path, body = self._path.fullmatch(request.path), request.object
        run, thread = body.get("runId"), _thread(body)
        if path is None or not isinstance(run or thread, str):
            return None
        decision = body.get("approved") is not False and path[2] != "decline-tool-call"
        mode = Mode.WAIT if path[3] == "-generate" else Mode.STREAM
        if path[2] == "send-tool-approval":
            mode = Mode.BACKGROUND
        fields = {"input": _plain(body.get("resumeData", decision)), "agent_id": path[1]}
        return VendorResume(self, request, thread, mode, fields, run_id=run if isinstance(run, str) else None)

    def addressed(self, vendor: VendorResume, found: Found[Any]) -> Mapping[str, Any]:
        """Return the answer with the id of the question of its tool call; a call may ask for several values."""
        call = vendor.request.object.get("toolCallId")
        if not isinstance(call, str) or not call or not found.interrupts:
            return vendor.fields
        asking = (question.interrupt.id for question in found.context.questions if question.call == call)
        return {**vendor.fields, "interrupt_id": next(asking, call)}


def _plain(answer: Any) -> Any:
    """Return the bare decision of an approval without a reason, as clients of the draft send it."""
    return answer["approved"] if isinstance(answer, dict) and list(answer) == ["approved"] else answer


def _thread(body: dict[str, Any]) -> str | None:
    """Return the thread that the request names, in its `memory` or beside it."""
    memory = body.get("memory")
    thread = body.get("threadId") or (memory.get("thread") if isinstance(memory, dict) else None)
    thread = thread.get("id") if isinstance(thread, dict) else thread
    return thread if isinstance(thread, str) and thread else None
