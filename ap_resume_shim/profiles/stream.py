"""The reframer of a profile, for backends whose events have other names than the draft's."""

from __future__ import annotations

from collections.abc import Iterable

from ap_resume_shim.core import sse
from ap_resume_shim.core.event_emitter import Emitter
from ap_resume_shim.core.interrupt import Interrupt
from ap_resume_shim.core.json_pointer import MISSING, point
from ap_resume_shim.core.protocol import StreamMode
from ap_resume_shim.core.reframer import Ended, EventReframer
from ap_resume_shim.profiles.schema import StreamTable


class ProfileStream(EventReframer):
    """Converts the events that the profile names to the draft's, in the requested modes; drops other events."""

    def __init__(self, table: StreamTable, modes: Iterable[StreamMode]) -> None:
        """`modes` are the stream modes that the client requested."""
        names_by_mode: dict[StreamMode, list[str]] = {
            "values": table.values,
            "messages": table.messages,
            "updates": table.updates,
            "custom": table.custom,
        }
        self._modes = {name: mode for mode, names in names_by_mode.items() for name in names}
        self._table, self._requested = table, frozenset(modes)
        super().__init__(Emitter(self._requested))

    def _reframe(self, event: sse.Event) -> bytes:
        name = event.name or "message"
        if name == self._table.error:
            self._ended = Ended(self._ended.values, event.json)
            return self._emit.error(event.json)
        if name == self._table.interrupt:
            question = point(event.json, self._table.question)
            return self._emit.interrupted((Interrupt(None, None if question is MISSING else question),))
        mode = self._modes.get(name)
        if mode == "values":
            self._ended = Ended(event.json, self._ended.error)
        return sse.encode(mode, event.json) if mode in self._requested else b""
