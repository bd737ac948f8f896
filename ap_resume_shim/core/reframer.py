"""Reframers convert a backend's stream to the client's. `Relay` forwards it; others derive from `EventReframer`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from ap_resume_shim.core.event_emitter import Emitter
from ap_resume_shim.core.interrupt import Interrupt
from ap_resume_shim.core.sse import Decoder, Event, encode, first_event


@dataclass(frozen=True, slots=True)
class Ended:
    """The outcome of a run, as far as the backend's response shows it."""

    values: Any = None
    error: Any = None
    interrupts: tuple[Interrupt, ...] = ()
    """All questions at which the run stopped, if the response lists each of them completely. Otherwise empty: the
    thread's state has them."""


class Reframer(Protocol):
    """Converts the backend's stream to the client's. Pure: bytes in, bytes out."""

    def feed(self, chunk: bytes) -> bytes:
        """Process the next bytes, split anywhere. Returns the bytes that are ready for the client."""

    def finish(self) -> bytes:
        """Called when the upstream stream has ended normally. Returns the remaining bytes."""

    @property
    def between_events(self) -> bool:
        """True if a comment can be inserted here without breaking an event."""

    @property
    def over(self) -> bool:
        """True if the run has ended: the driver stops reading, although the backend keeps the stream open."""

    def ended(self) -> Ended:
        """Return the outcome of the run, as far as the stream has shown it."""


class Relay:
    """A `Reframer` that forwards every byte unchanged."""

    over = False
    """The backend ends the stream."""

    def __init__(self) -> None:
        self._tail = b"\n\n"

    def feed(self, chunk: bytes) -> bytes:
        """Return the same bytes."""
        self._tail = (self._tail + chunk)[-4:]
        return chunk

    def finish(self) -> bytes:
        """Return no bytes."""
        return b""

    @property
    def between_events(self) -> bool:
        """True if the last bytes are a blank line."""
        return self._tail.endswith((b"\n\n", b"\r\n\r\n", b"\r\r"))

    def ended(self) -> Ended:
        """Return an empty outcome: a relay does not read the events. The thread's state shows how the run ended."""
        return Ended()


class EventReframer:
    """Base class of reframers that read Server-Sent Events; without overrides it drops all of them.

    A subclass overrides `_reframe_object`, or `_reframe` where names or ids of events matter. It sets `over` once the
    run has ended; later events are dropped. It returns remaining output from `finish`, and stores the outcome in
    `_ended`.
    """

    between_events = True
    """Events are written whole."""
    over = False
    """True once the run has ended; if it stays False, the backend ends the stream."""

    def __init__(self, emitter: Emitter) -> None:
        self._emit, self._decoder, self._ended = emitter, Decoder(), Ended()

    def feed(self, chunk: bytes) -> bytes:
        """Process the next bytes. Returns the client's events for the events that are complete."""
        output = b""
        for event in self._decoder.feed(chunk):
            if event.data is not None and not self.over:
                output += self._reframe(event)
        return output

    def finish(self) -> bytes:
        """Return no bytes."""
        return b""

    def ended(self) -> Ended:
        """Return the run's values and its error, as far as the events have shown them."""
        return self._ended

    def _reframe(self, event: Event) -> bytes:
        """Return the client's events for one event of the backend that has data."""
        value = event.json
        return self._reframe_object(value) if isinstance(value, dict) else b""

    def _reframe_object(self, value: dict[str, Any]) -> bytes:
        """Return the client's events for one event of the backend whose data is an object."""
        return b""

    def _fail(self, error: Any) -> bytes:
        """Record that the run has failed. Returns an `error` event, unless there was one before."""
        if self._ended.error is not None:
            return b""
        self._ended = Ended(error=error)
        return self._emit.error(error)


class Wrapped:
    """Base class of a `Reframer` in front of another; a subclass adds `feed` and `finish`."""

    def __init__(self, inner: Reframer) -> None:
        self._inner = inner

    @property
    def between_events(self) -> bool:
        """The inner reframer's value."""
        return self._inner.between_events

    @property
    def over(self) -> bool:
        """The inner reframer's value."""
        return self._inner.over

    def ended(self) -> Ended:
        """Return the inner reframer's outcome."""
        return self._inner.ended()


class WithRunId(Wrapped):
    """Ensures that the first event names the run: the backend's `metadata` event, or one of the shim's.

    A relayed stream is held back until its first event is complete, which shows whether the backend sends `metadata`. A
    reframed stream never has that event.
    """

    def __init__(self, inner: Reframer, run_id: str) -> None:
        super().__init__(inner)
        self._metadata = encode("metadata", {"run_id": run_id})
        self._held: bytes | None = b""

    def feed(self, chunk: bytes) -> bytes:
        """Return the same bytes, after the shim's `metadata` event if the backend sends none."""
        if self._held is None:
            return self._inner.feed(chunk)
        self._held += chunk
        if not isinstance(self._inner, Relay):
            return self._begin(has_metadata=False)
        first = first_event(self._held)
        return b"" if first is None else self._begin(has_metadata=first.name == "metadata")

    def finish(self) -> bytes:
        """Return the bytes that were held back, and the inner reframer's remaining bytes."""
        rest = b"" if self._held is None else self._begin(has_metadata=False)
        return rest + self._inner.finish()

    def _begin(self, *, has_metadata: bool) -> bytes:
        held, self._held = self._held or b"", None
        return (b"" if has_metadata else self._metadata) + self._inner.feed(held)
