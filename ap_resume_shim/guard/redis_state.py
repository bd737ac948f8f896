"""The state of a thread in Redis as of the arrival of a resume, and the stored response to its client."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from ap_resume_shim.core import strictjson
from ap_resume_shim.core.steps import Reply
from ap_resume_shim.core.steps.guard import KeyRecord, UncommittedResume
from ap_resume_shim.guard.sealing import seal, unseal


@dataclass(frozen=True, slots=True)
class ThreadState:
    """The state that the script `begin` returns."""

    read_at: float = 0.0
    """The time at which the state was read, by this process's clock, in seconds."""
    store_clock: int = 0
    """The same moment by the store's clock, in microseconds."""
    version: str = ""
    """The name of the thread's last acceptance; empty if there was none."""
    superseded: bool = False
    """True if another resume was accepted since the arrival."""
    run_in_flight: bool = False
    """True if the run of the last accepted resume has not been seen idle, so that `mark_idle` has an effect."""
    had_run_in_flight: bool = False
    """True if, at the arrival, the run of the last accepted resume had not been seen idle."""
    repeated: bool = False
    known_ids: frozenset[str] = frozenset()
    uncommitted: UncommittedResume = field(default_factory=UncommittedResume)
    record: KeyRecord | None = None


def read_state(response: Any, arrived_at: float, read_at: float, secret: str) -> ThreadState:
    """Return the state in the response of `begin`. `secret` unseals the stored response to the client."""
    now, version, accepted, idle, in_flight, answered, committed, repeated, ids, *record = response
    # The store received the query after the arrival, at most this much later: an event in that time counts as later
    # than the arrival.
    elapsed = micro(read_at - arrived_at)
    superseded = _within(accepted, elapsed)
    names = frozenset(json.loads(answered))
    uncommitted = UncommittedResume()
    if names and (not committed or _within(committed, elapsed)):
        uncommitted = UncommittedResume(names, max(0, int(accepted)) / 1_000_000)
    return ThreadState(
        read_at,
        int(now),
        version.decode(),
        superseded,
        # If superseded, an idle thread may have been seen before that run, and proves nothing about it.
        run_in_flight=bool(in_flight) and not superseded,
        had_run_in_flight=bool(in_flight) or _within(idle, elapsed),
        repeated=bool(repeated),
        known_ids=frozenset(interrupt_id.decode() for interrupt_id in ids),
        uncommitted=uncommitted,
        record=_record(*record, secret=secret),
    )


def _record(
    fingerprint: bytes, live: bytes, accepted: bytes, run_id: bytes, reply: bytes, *, secret: str
) -> KeyRecord | None:
    if not fingerprint:
        return None
    return KeyRecord(
        fingerprint.decode(), bool(live), accepted == b"1", run_id.decode() or None, _unsealed_reply(reply, secret)
    )


def sealed_reply(reply: Reply, secret: str) -> bytes:
    """Return a response to the client as it is stored: as JSON, sealed with `secret`."""
    headers = strictjson.dumps(reply.headers)
    return seal(b'{"status":%d,"headers":%b,"value":%b}' % (reply.status, headers, reply.body), secret)


def _unsealed_reply(sealed: bytes, secret: str) -> Reply | None:
    plain = unseal(sealed, secret)
    if plain is None:
        return None
    value = json.loads(plain)
    return Reply(value["status"], value["value"], tuple((name, text) for name, text in value["headers"]))


def _within(ago: bytes, duration: int) -> bool:
    """True if an event was at most `duration` microseconds ago.

    It may also lie ahead by as much, since the store's clock may be set back a little.
    """
    return ago != b"" and abs(int(ago)) <= duration


def micro(seconds: float) -> int:
    """Return a duration in microseconds."""
    return int(seconds * 1_000_000)
