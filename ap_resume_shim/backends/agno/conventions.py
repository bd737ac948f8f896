"""How clients of AgentOS answer: a form to the run, with all its questions and the answers in them.

Agents have the questions in `tools`, teams in `requirements`, workflows in `step_requirements`, each a JSON text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ap_resume_shim.backends.agno.questions import current_step, is_answered, step_id
from ap_resume_shim.core import strictjson
from ap_resume_shim.core.protocol import Mode
from ap_resume_shim.core.vendor_resume import ClientRequest, Convention, VendorResume, by_question

if TYPE_CHECKING:
    from ap_resume_shim.core.dialect import Found

_CONTINUE = re.compile(r"/(?:agents|teams|workflows)/([^/]+)/runs/([^/]+)/continue")
_TRUE = ("true", "1", "on", "yes", "t", "y")


class ContinueRun(Convention):
    """`POST /{agents|teams|workflows}/{id}/runs/{run_id}/continue`. The server continues a run that has ended, too."""

    name = "agno"
    checks_value = False

    def matches(self, method: str, path: str) -> bool:
        """Return True for the routes that continue a run."""
        return method == "POST" and _CONTINUE.fullmatch(path) is not None

    def read(self, request: ClientRequest) -> VendorResume | None:
        """Return the answers; None without a session, which the server refuses."""
        path, session = _CONTINUE.fullmatch(request.path), request.form.get("session_id")
        if path is None or not session:
            return None
        answers = _answers(request.form)
        fields = {"agent_id": path[1], **({"input": answers} if answers else {})}
        return VendorResume(self, request, session, _mode(request.form), fields, run_id=path[2])

    def addressed(self, vendor: VendorResume, found: Found[Any]) -> Mapping[str, Any]:
        """Return the answers with the ids of their questions; tools are named by their calls.

        The form repeats parts that were answered before. A run that waits for an administrator has no question: it
        continues after the approval.
        """
        agent = {"agent_id": vendor.fields["agent_id"]}
        answers: dict[str, Any] = vendor.fields.get("input", {})
        if found.breakpoint or not answers:
            return agent
        names = {name: str(name) for name in (interrupt.id for interrupt in found.interrupts)}
        for run in found.context.paused:
            names |= {_call(question.part): question.id for question in run.questions if _call(question.part)}
        pending = {names[name]: answer for name, answer in answers.items() if name in names}
        return {**agent, **by_question(pending or answers, found)}

    def runs_in_response(self, vendor: VendorResume) -> bool:
        """Return True for a stream without `background`: the run of an agent or a team looks paused until its end."""
        background = vendor.request.form.get("background", "").lower() in _TRUE
        return vendor.mode is Mode.STREAM and not background


def _mode(form: Mapping[str, str]) -> Mode:
    if form.get("stream", "true").lower() in _TRUE:
        return Mode.STREAM
    return Mode.BACKGROUND if form.get("background", "").lower() in _TRUE else Mode.WAIT


def _answers(form: Mapping[str, str]) -> dict[str, Any]:
    """Return the answers by the id of the tool call, of the requirement, or of the step."""
    steps = _listed(form, "step_requirements")
    step = current_step({"step_requirements": steps})
    requirements = [*_listed(form, "requirements"), *(step.get("executor_requirements") or ())]
    found = [(str(tool.get("tool_call_id")), tool) for tool in _listed(form, "tools")]
    found += [(str(item.get("id")), _tool(item)) for item in requirements]
    answers = {name: _value(tool) for name, tool in found if is_answered(tool)}
    if step and not step.get("requires_executor_input"):
        answers[step_id(step, len(steps))] = _value(step)
    return answers


def _listed(form: Mapping[str, str], name: str) -> list[dict[str, Any]]:
    """Return the objects in a field that is a JSON text."""
    try:
        value = strictjson.lenient(form.get(name) or "[]")
    except ValueError:
        return []
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _tool(requirement: dict[str, Any]) -> dict[str, Any]:
    """Return the tool of a requirement; teams read its confirmation or result beside the tool, too."""
    tool = requirement.get("tool_execution") or {}
    beside = {"confirmed": requirement.get("confirmation"), "result": requirement.get("external_execution_result")}
    return {**tool, **{name: value for name, value in beside.items() if value is not None}}


def _value(part: dict[str, Any]) -> Any:
    """Return the answer in a part: a confirmation, or else the whole part, which only the server reads."""
    return part["confirmed"] if isinstance(part.get("confirmed"), bool) else part


def _call(part: dict[str, Any]) -> str:
    """Return the id of the tool call of a requirement; the empty string for a step."""
    return str((part.get("tool_execution") or {}).get("tool_call_id") or "")
