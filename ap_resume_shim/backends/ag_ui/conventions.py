"""How AG-UI's clients answer: a run whose request has `resume` entries, or LangGraph's older `command.resume`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ap_resume_shim.backends.ag_ui.messages import answers_of
from ap_resume_shim.core.protocol import Mode
from ap_resume_shim.core.vendor_resume import ClientRequest, Convention, VendorResume, by_question

if TYPE_CHECKING:
    from ap_resume_shim.core.dialect import Found


class RunWithAnswers(Convention):
    """`POST` to the agent's endpoint.

    Clients throw for the default refusal; an event RUN_ERROR in a stream would end their run without an exception.
    """

    name = "ag-ui"
    checks_value = False

    def __init__(self, path: str | None) -> None:
        """`path` is the path of the agent's endpoint; None: any path."""
        self._path = path

    def matches(self, method: str, path: str) -> bool:
        """Return True for each POST to the endpoint."""
        return method == "POST" and self._path in (None, path)

    def read(self, request: ClientRequest) -> VendorResume | None:
        """Return the answers in a run's request; without a list of messages, a request starts no run."""
        run = request.object
        thread_id = run.get("threadId") or run.get("thread_id")
        answers, _ = answers_of(run)
        if not answers or not isinstance(run.get("messages"), list) or not isinstance(thread_id, str):
            return None
        entries = _by_id(run)
        fields = {"input": entries} if entries else {"input": _command(run)["resume"]}
        return VendorResume(self, request, thread_id, Mode.STREAM, fields)

    def addressed(self, vendor: VendorResume, found: Found[Any]) -> Mapping[str, Any]:
        """Return the answers with the ids of their questions; in the older form, only the keys of an answer are ids."""
        entries = _by_id(vendor.request.object)
        return by_question(entries, found) if entries else vendor.fields


def _by_id(run: dict[str, Any]) -> dict[str, Any]:
    """Return the payload of each entry, by interrupt id; a cancelled one has none."""
    entries = run.get("resume")
    entries = entries if isinstance(entries, list) else []
    return {str(entry.get("interruptId", "")): entry.get("payload") for entry in entries if isinstance(entry, dict)}


def _command(run: dict[str, Any]) -> dict[str, Any]:
    command: dict[str, Any] = (run.get("forwardedProps") or run["forwarded_props"])["command"]
    return command
