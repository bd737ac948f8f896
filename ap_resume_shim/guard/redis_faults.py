"""Permanent faults of a store in Redis, which a retry does not fix."""

from __future__ import annotations

from redis import exceptions
from redis.exceptions import (
    AskError,
    AuthenticationError,
    AuthenticationWrongNumberOfArgsError,
    ClusterCrossSlotError,
    ClusterDownError,
    MasterDownError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
)

from ap_resume_shim.core.errors import GuardMisconfigured, GuardUnavailable

CLUSTER = "it is a Redis Cluster, which is not supported: give the guard a single primary"
"""The fault of a Redis Cluster."""
PASSWORD = "it refuses the user or the password: correct the guard's address"
_BY_TYPE: tuple[tuple[type[Exception] | tuple[type[Exception], ...], str], ...] = (
    ((AuthenticationError, AuthenticationWrongNumberOfArgsError), PASSWORD),
    (
        NoPermissionError,
        "its user lacks a permission: allow EVALSHA, SCRIPT LOAD, and all commands on ap_resume_shim:*",
    ),
    (OutOfMemoryError, "it is out of memory: raise `maxmemory`, or remove other data"),
    (ReadOnlyError, "it is a replica, which cannot be written: name the primary"),
    ((AskError, ClusterCrossSlotError), CLUSTER),
)
_CONNECTING = (exceptions.ConnectionError, exceptions.TimeoutError, OSError)
_BY_TEXT = (
    ("unauthenticated", PASSWORD),  # redis-py before 8
    ("CLUSTERDOWN", CLUSTER),  # redis-py before 6
    ("DB index is out of range", "it has no database of that number: correct the last part of the guard's address"),
    ("MISCONF", "it refuses writes, since it cannot save to its disk: see its own log"),
    ("DENIED", "it is in protected mode: give it a password, or let it listen on loopback alone"),
    ("can't run this command", "its user lacks a permission: allow EVALSHA and all commands on ap_resume_shim:*"),
)


def unavailable(error: Exception) -> GuardUnavailable:
    """Return the error for a failed call to the store; it names a permanent fault."""
    fault = permanent_fault(error)
    if fault is None:
        missing = "The guard's store cannot be reached, and nothing was sent: "
        # Other errors may repeat what the store was sent.
        reason = str(error) if isinstance(error, _CONNECTING) else type(error).__name__
        return GuardUnavailable(f"{missing}try again.", detail=f"{missing}{reason}")
    return GuardMisconfigured(f"The guard's store cannot be used, and nothing was sent: {fault}.")


def permanent_fault(error: Exception) -> str | None:
    """Return the fault and what the operator has to change; None for a fault that may be temporary."""
    if isinstance(error, ClusterDownError) and not isinstance(error, MasterDownError):
        return CLUSTER
    for kind, fault in _BY_TYPE:
        if isinstance(error, kind):
            return fault
    text = str(error) if isinstance(error, ResponseError) else ""
    return next((fault for phrase, fault in _BY_TEXT if phrase in text), None)
