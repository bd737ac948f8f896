"""Reframers: how a backend's stream becomes the client's. `Relay` passes it on; others derive from `EventReframer`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from ap_resume_shim.core.event_emitter import Emitter
from ap_resume_shim.core.sse import Decoder, Event, encode, first_event


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended, as far as the backend's own answer shows."""

    values: Any = None
    error: Any = None


class Reframer(Protocol):
    """Turns the backend's stream into the client's. Pure: bytes in, bytes out."""

    def feed(self, chunk: bytes) -> bytes:
        """Take the next bytes, split anywhere; return what is ready for the client."""

    def finish(self) -> bytes:
        """The upstream stream ended well: return the rest."""

    @property
    def between_events(self) -> bool:
        """Whether a comment may be inserted here without breaking an event."""

    @property
    def over(self) -> bool:
        """Whether the run has ended, so that no more is read, though the backend holds the stream open."""

    def ended(self) -> Ended:
        """How the run ended, as far as the stream has shown."""


class Relay:
    """A `Reframer` that passes every byte on as it came."""

    over = False
    """The stream ends by itself."""

    def __init__(self) -> None:
        self._tail = b"\n\n"

    def feed(self, chunk: bytes) -> bytes:
        """The same bytes."""
        self._tail = (self._tail + chunk)[-4:]
        return chunk

    def finish(self) -> bytes:
        """Nothing is left."""
        return b""

    @property
    def between_events(self) -> bool:
        """Whether the last bytes are a blank line."""
        return self._tail.endswith((b"\n\n", b"\r\n\r\n", b"\r\r"))

    def ended(self) -> Ended:
        """Nothing: a relay does not read the events. The thread's state shows how the run ended."""
        return Ended()


class EventReframer:
    """Base class of reframers that read Server-Sent Events; by itself it drops all of them.

    A subclass overrides `_reframe_object`, or `_reframe` where names or ids of events matter, and sets `over` when the
    run is at rest: later events are dropped. What the run has left it writes in `finish` and keeps in `_ended`.
    """

    between_events = True
    """Events are written whole."""
    over = False
    """Whether the run is at rest; else the stream ends by itself."""

    def __init__(self, emitter: Emitter) -> None:
        self._emit, self._decoder, self._ended = emitter, Decoder(), Ended()

    def feed(self, chunk: bytes) -> bytes:
        """Take the next bytes; give the client's events for those that are complete."""
        written = b""
        for event in self._decoder.feed(chunk):
            if event.data is not None and not self.over:
                written += self._reframe(event)
        return written

    def finish(self) -> bytes:
        """Nothing is left."""
        return b""

    def ended(self) -> Ended:
        """The run's values and its error, as far as the events have told."""
        return self._ended

    def _reframe(self, event: Event) -> bytes:
        """The client's events for one of the backend's, which has data."""
        value = event.json
        return self._reframe_object(value) if isinstance(value, dict) else b""

    def _reframe_object(self, value: dict[str, Any]) -> bytes:
        """The client's events for one of the backend's, whose data is an object."""
        return b""

    def _fail(self, error: Any) -> bytes:
        """The run has failed: write the error, unless there was one before."""
        if self._ended.error is not None:
            return b""
        self._ended = Ended(error=error)
        return self._emit.error(error)


class Wrapped:
    """Base class of a `Reframer` in front of another; a subclass has `feed` and `finish`."""

    def __init__(self, inner: Reframer) -> None:
        self._inner = inner

    @property
    def between_events(self) -> bool:
        """As the inner reframer."""
        return self._inner.between_events

    @property
    def over(self) -> bool:
        """As the inner reframer."""
        return self._inner.over

    def ended(self) -> Ended:
        """As the inner reframer."""
        return self._inner.ended()


class WithRunId(Wrapped):
    """The first event names the run, by the backend's `metadata` or by ours.

    What is relayed is held back until its first event is complete, since only then it shows which of the two. What is
    reframed has no `metadata`.
    """

    def __init__(self, inner: Reframer, run_id: str) -> None:
        super().__init__(inner)
        self._metadata = encode("metadata", {"run_id": run_id})
        self._held: bytes | None = b""

    def feed(self, chunk: bytes) -> bytes:
        """The same bytes, behind our own event where the backend has none."""
        if self._held is None:
            return self._inner.feed(chunk)
        self._held += chunk
        if not isinstance(self._inner, Relay):
            return self._begin(named=False)
        first = first_event(self._held)
        return b"" if first is None else self._begin(named=first.name == "metadata")

    def finish(self) -> bytes:
        """What was held back, and what the inner reframer has left."""
        rest = b"" if self._held is None else self._begin(named=False)
        return rest + self._inner.finish()

    def _begin(self, *, named: bool) -> bytes:
        held, self._held = self._held or b"", None
        return (b"" if named else self._metadata) + self._inner.feed(held)
