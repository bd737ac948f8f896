"""How LlamaIndex's client answers: an event to the run. Only its class shows whether it is an answer."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ap_resume_shim.core import strictjson
from ap_resume_shim.core.errors import AmbiguousInterrupt
from ap_resume_shim.core.protocol import Mode
from ap_resume_shim.core.vendor_resume import ClientRequest, Convention, VendorResume

if TYPE_CHECKING:
    from ap_resume_shim.backends.llamaindex.event_log import LlamaIndexQuestion
    from ap_resume_shim.core.dialect import Found

_EVENTS = re.compile(r"/events/([^/]+)")


class PostedEvent(Convention):
    """`POST /events/{handler_id}`: an answer if its class is one that an open question of the waiting run takes."""

    name = "llamaindex"
    checks_value = False

    def __init__(self, classes: Callable[[Found[Any], LlamaIndexQuestion], tuple[str, ...]]) -> None:
        """`classes` returns the classes of events that may answer a question."""
        self._classes = classes

    def matches(self, method: str, path: str) -> bool:
        """Return True for the route of events."""
        return method == "POST" and _EVENTS.fullmatch(path) is not None

    def read(self, request: ClientRequest) -> VendorResume | None:
        """Return the event as an answer; whether it is one depends on the run."""
        path, event = _EVENTS.fullmatch(request.path), _event(request)
        if path is None or _class_of(event) is None:
            return None
        return VendorResume(self, request, path[1], Mode.BACKGROUND, {"input": event.get("value")}, "if_interrupted")

    def addressed(self, vendor: VendorResume, found: Found[Any]) -> Mapping[str, Any] | None:
        """Return the answer with the id of its question; None if no open question takes events of this class.

        Raises `AmbiguousInterrupt` if several take it: the server may give one event to all of them.
        """
        if found.context is None or not found.interrupts:
            return None
        name = _class_of(_event(vendor.request))
        asking = [question for question in found.context.log.open_questions if name in self._classes(found, question)]
        if len(asking) > 1:
            raise AmbiguousInterrupt(f"Several questions take events of the class {name!r}.", found.interrupts)
        return {**vendor.fields, "interrupt_id": asking[0].interrupt(str(found.run_id)).id} if asking else None


def _event(request: ClientRequest) -> dict[str, Any]:
    """Return the event, which older clients send as a JSON text."""
    event = request.object.get("event")
    if isinstance(event, str):
        try:
            event = strictjson.lenient(event)
        except ValueError:
            return {}
    return event if isinstance(event, dict) else {}


def _class_of(event: dict[str, Any]) -> str | None:
    """Return the name of the event's class; clients may send it with its module."""
    name = event.get("type") or event.get("qualified_name")
    return name.rpartition(".")[2] if isinstance(name, str) else None
