"""The stream of a backend that a profile describes, whose events have names of their own."""

from __future__ import annotations

from collections.abc import Iterable

from ap_resume_shim.core import sse
from ap_resume_shim.core.event_emitter import Emitter
from ap_resume_shim.core.interrupt import Interrupt
from ap_resume_shim.core.protocol import StreamMode
from ap_resume_shim.core.reframer import Ended
from ap_resume_shim.profiles.schema import StreamTable
from ap_resume_shim.profiles.template import MISSING, point


class ProfileStream:
    """A `Reframer`: events that the profile names become the draft's, in the modes asked for; others are left out."""

    between_events = True
    over = False

    def __init__(self, table: StreamTable, modes: Iterable[StreamMode]) -> None:
        """`modes` are the client's."""
        named: dict[StreamMode, list[str]] = {
            "values": table.values,
            "messages": table.messages,
            "updates": table.updates,
            "custom": table.custom,
        }
        self._modes = {name: mode for mode, names in named.items() for name in names}
        self._table, self._asked = table, frozenset(modes)
        self._decoder, self._emitter = sse.Decoder(), Emitter(self._asked)
        self._ended = Ended()

    def feed(self, chunk: bytes) -> bytes:
        """What the client gets for the events that are complete now."""
        return b"".join(self._told(event) for event in self._decoder.feed(chunk))

    def finish(self) -> bytes:
        """Nothing is left."""
        return b""

    def ended(self) -> Ended:
        """The last state that was told, and the error."""
        return self._ended

    def _told(self, event: sse.Event) -> bytes:
        name = event.name or "message"
        if event.data is None:
            return b""
        if name == self._table.error:
            self._ended = Ended(self._ended.values, event.json)
            return self._emitter.error(event.json)
        if name == self._table.interrupt:
            asked = point(event.json, self._table.question)
            return self._emitter.interrupted((Interrupt(None, None if asked is MISSING else asked),))
        mode = self._modes.get(name)
        if mode == "values":
            self._ended = Ended(event.json, self._ended.error)
        return sse.encode(mode, event.json) if mode in self._asked else b""
