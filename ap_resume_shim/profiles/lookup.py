"""Reads a thread by a profile: the requests of its lookups, and the pointers into their responses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ap_resume_shim.core.dialect import Found, Lookup, ThreadStatus
from ap_resume_shim.core.dialect_helpers import Rule, read_lookup
from ap_resume_shim.core.errors import AgentNotFound, AmbiguousInterrupt, InvalidRequest, UpstreamUnrecognised
from ap_resume_shim.core.http import Request, Response
from ap_resume_shim.core.interrupt import Interrupt
from ap_resume_shim.core.json_pointer import MISSING, parts, point, walk
from ap_resume_shim.core.json_values import equal
from ap_resume_shim.core.protocol import Resume
from ap_resume_shim.core.steps import Ask
from ap_resume_shim.profiles.schema import AgentTable, FoundTable, LookupTable, PickTable, Profile, Scalar, every
from ap_resume_shim.profiles.template import fill, fill_path, names_in
from ap_resume_shim.profiles.values import moment, with_messages


class ThreadReader:
    """Reads a thread by the lookups of a profile."""

    def __init__(self, profile: Profile, rules: tuple[Rule, ...]) -> None:
        """`rules` map refusals to errors."""
        self._profile, self._rules = profile, rules
        self._about_thread = about_the_thread(profile)
        self._found_at = {
            name: tuple(map(parts, every(getattr(profile.found, name)))) for name in FoundTable.model_fields
        }
        self._id_at, self._value_at = parts(profile.interrupt.id), parts(profile.interrupt.value)
        states, table = profile.status, profile.resume
        self._states: dict[ThreadStatus, list[Scalar]] = {
            "idle": states.idle,
            "busy": states.busy,
            "interrupted": states.interrupted,
            "error": states.error,
        }
        lines = filter(None, (table.background, table.wait, table.stream))
        self._names_agent = any("agent_id" in names_in(line) for line in lines) or "$agent_id" in str(table.json_)

    def inspect_thread(self, resume: Resume, *, full: bool) -> Lookup[None]:
        """Send the profile's lookups concurrently, and the request for the agent that the client names.

        A lookup that needs values from another one follows it. Without `full` (after a run), only the lookups about the
        thread are sent. Returns the thread's state. Raises `ResumeError`.
        """
        profile, names = self._profile, client_names(resume)
        agent_id = resume.body.agent_id if full else None
        results: dict[str, Any] = {}
        remaining = {name: table for name, table in profile.lookup.items() if full or name in self._about_thread}
        first = True
        while ready := {
            name: known for name in remaining if (known := self._names_for(remaining[name], names, results)) is not None
        }:
            tables: list[tuple[LookupTable | AgentTable, Mapping[str, Any]]] = [
                (remaining.pop(name), known) for name, known in ready.items()
            ]
            if first and agent_id is not None and profile.agent is not None:
                tables.append((profile.agent, names))
            responses = yield from Ask(tuple(self.request(table, known) for table, known in tables))
            results |= {
                name: read_lookup(response, self._rules) for name, response in zip(ready, responses, strict=False)
            }
            for name, pick in profile.pick.items():
                if _root(pick.of) in results:
                    results[name] = _pick(pick, results)
            if len(responses) > len(ready):
                self._check_agent(responses[-1], str(agent_id))
            first = False
        return self._found(results, agent_id)

    def _names_for(
        self, table: LookupTable, names: Mapping[str, Any], results: dict[str, Any]
    ) -> Mapping[str, Any] | None:
        """Return the names for a lookup's request; None while one of them is missing."""
        if not table.names and "{agent_id}" not in table.request:
            return names
        found = {name: point(results, pointer) for name, pointer in table.names.items()}
        if any(value is MISSING or value is None for value in found.values()):
            return None
        known = {**names, **found}
        return known if names_in(table.request) <= set(known) else None

    def _check_agent(self, response: Response, agent_id: str) -> None:
        if response.status in (400, 404, 422):
            raise AgentNotFound(f"The backend has no agent {agent_id!r}: leave `agent_id` out to use its own.")
        read_lookup(response, self._rules)

    def _found(self, results: dict[str, Any], agent_id: str | None) -> Found[None]:
        def reported(name: str) -> list[Any]:
            values = [walk(results, keys) for keys in self._found_at[name]]
            return [value for value in values if value is not MISSING and value is not None]

        def at(name: str) -> Any:
            return next(iter(reported(name)), None)

        statuses = reported("status")
        # Concurrent lookups may show the thread before and after a change.
        busy = any(equal(value, known) for value in statuses for known in self._states["busy"])
        status: ThreadStatus = "busy" if busy else self._status(statuses[0] if statuses else None)
        agent = at("agent_id")
        if agent_id is not None and agent not in (None, agent_id) and not self._names_agent:
            raise InvalidRequest(
                f"The waiting run belongs to {agent!r}, and continues with that agent. Leave `agent_id` out.",
                {"field": "agent_id"},
            )
        interrupts = self._interrupts(status, at("interrupts"), at("interrupt"))
        if interrupts and status == "idle":  # some servers have no status for a thread that waits
            status = "interrupted"
        return Found(
            status=status,
            interrupts=interrupts,
            breakpoint=status == "interrupted" and not interrupts,
            agent_id=agent_id or agent,
            values=with_messages(at("values"), at("messages")),
            error=at("error"),
            updated_at=moment(at("updated_at")),
            run_id=at("run_id"),
        )

    def _status(self, value: Any) -> ThreadStatus:
        unset = self._profile.status.unset
        if value is None and unset is not None:
            return unset
        for status, values in self._states.items():
            if any(equal(value, known) for known in values):
                return status
        raise UpstreamUnrecognised(f"The profile {self._profile.name!r} has no thread status {value!r}.")

    def _interrupts(self, status: ThreadStatus, items: Any, question: Any) -> tuple[Interrupt, ...]:
        if isinstance(items, list) and (items or self._profile.breakpoints):
            return tuple(self._interrupt(item) for item in items)
        if question is None and status != "interrupted":
            return ()
        return (Interrupt(None, question),)  # an interrupted thread has a question, even if its value is missing

    def _interrupt(self, item: Any) -> Interrupt:
        table = self._profile.interrupt
        id_, value = walk(item, self._id_at), walk(item, self._value_at)
        if not isinstance(item, dict) and table.value:
            raise UpstreamUnrecognised(
                f"The profile {self._profile.name!r} supports only objects, with id and value, as interrupts."
            )
        return Interrupt(id_ if isinstance(id_, str) else None, None if value is MISSING else value)

    def request(self, table: LookupTable | AgentTable, names: Mapping[str, Any]) -> Request:
        """Return the request of a lookup, with the names filled in."""
        method, _, path = table.request.partition(" ")
        body = None if table.json_ is None else Request.post("", fill(table.json_, names)).body
        return with_headers(self._profile, Request(method, fill_path(path, names), body))


def about_the_thread(profile: Profile) -> set[str]:
    """Return the names of the lookups that show the thread's state, and of those that they depend on."""
    table = profile.found
    places = (table.status, table.interrupts, table.interrupt, table.values, table.messages, table.error)
    needed = {_root(pointer) for pointers in (*places, table.updated_at) for pointer in every(pointers)}
    while True:
        dependencies = {_root(profile.pick[name].of) for name in needed & set(profile.pick)}
        dependencies |= {
            _root(at) for name in needed & set(profile.lookup) for at in profile.lookup[name].names.values()
        }
        if dependencies <= needed:
            return needed
        needed |= dependencies


def client_names(resume: Resume) -> dict[str, Any]:
    """Return the names that the client's request defines, for paths and templates."""
    names = {"thread_id": resume.thread_id, "agent_id": resume.body.agent_id}
    return {name: value for name, value in names.items() if value is not None}


def with_headers(profile: Profile, request: Request) -> Request:
    """Return the request with the header fields of the profile."""
    return replace(request, headers=tuple(profile.headers.items())) if profile.headers else request


def _pick(pick: PickTable, results: dict[str, Any]) -> Any:
    found = point(results, pick.of)
    items = found if isinstance(found, list) else [found]  # the item of an earlier pick
    matching = [item for item in items if isinstance(item, dict) and _fits(item, pick.where)]
    if pick.which == "only" and len(matching) > 1:
        raise AmbiguousInterrupt(
            f"{len(matching)} runs of the thread wait for an answer, and this backend resumes one run at a time, "
            "which the draft's routes cannot name. Answer them through the backend's own API.",
            (),
        )
    return None if not matching else matching[-1 if pick.which == "last" else 0]


def _root(pointer: str) -> str:
    return parts(pointer)[0]


def _fits(item: Any, conditions: Mapping[str, Any]) -> bool:
    """Return True if an item has, at each pointer, the expected value, or one of several."""
    expected = {at: value if isinstance(value, list) else [value] for at, value in conditions.items()}
    return all(any(equal(point(item, at), value) for value in values) for at, values in expected.items())
