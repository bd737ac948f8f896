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
from ap_resume_shim.core.json_pointer import MISSING, parts, point
from ap_resume_shim.core.json_values import equal
from ap_resume_shim.core.protocol import Resume
from ap_resume_shim.core.steps import Ask
from ap_resume_shim.profiles.schema import AgentTable, LookupTable, PickTable, Profile, Scalar, every
from ap_resume_shim.profiles.template import fill, fill_path, names_in
from ap_resume_shim.profiles.values import moment, with_messages


class ThreadReader:
    """Reads a thread by the lookups of a profile."""

    def __init__(self, profile: Profile, rules: tuple[Rule, ...]) -> None:
        """`rules` map refusals to errors."""
        self._profile, self._rules = profile, rules
        self._about = about_the_thread(profile)
        words, table = profile.status, profile.resume
        self._words: dict[ThreadStatus, list[Scalar]] = {
            "idle": words.idle,
            "busy": words.busy,
            "interrupted": words.interrupted,
            "error": words.error,
        }
        lines = filter(None, (table.background, table.wait, table.stream))
        self._names_agent = any("agent_id" in names_in(line) for line in lines) or "$agent_id" in str(table.json_)

    def look(self, resume: Resume, *, agent: bool) -> Lookup[None]:
        """Send the profile's lookups concurrently, and the request for the agent that the client names.

        A lookup that needs values from another one follows it. Without `agent` (after a run), only the lookups about
        the thread are sent. Returns the thread's state. Raises `ResumeError`.
        """
        profile, names = self._profile, client_names(resume)
        wanted = resume.body.agent_id if agent else None
        told: dict[str, Any] = {}
        left = {name: table for name, table in profile.lookup.items() if agent or name in self._about}
        first = True
        while ready := {
            name: known for name in left if (known := self._names_for(left[name], names, told)) is not None
        }:
            tables: list[tuple[LookupTable | AgentTable, Mapping[str, Any]]] = [
                (left.pop(name), known) for name, known in ready.items()
            ]
            if first and wanted is not None and profile.agent is not None:
                tables.append((profile.agent, names))
            answers = yield from Ask(tuple(self.request(table, known) for table, known in tables))
            told |= {name: read_lookup(answer, self._rules) for name, answer in zip(ready, answers, strict=False)}
            for name, pick in profile.pick.items():
                if _root(pick.of) in told:
                    told[name] = _picked(pick, told)
            if len(answers) > len(ready):
                self._check_agent(answers[-1], str(wanted))
            first = False
        return self._found(told, wanted)

    def _names_for(
        self, table: LookupTable, names: Mapping[str, Any], told: dict[str, Any]
    ) -> Mapping[str, Any] | None:
        """Return the names for a lookup's request; None while one of them is missing."""
        if not table.names and "{agent_id}" not in table.request:
            return names
        found = {name: point(told, pointer) for name, pointer in table.names.items()}
        if any(value is MISSING or value is None for value in found.values()):
            return None
        known = {**names, **found}
        return known if names_in(table.request) <= set(known) else None

    def _check_agent(self, answer: Response, wanted: str) -> None:
        if answer.status in (400, 404, 422):
            raise AgentNotFound(f"The backend knows no agent {wanted!r}: leave `agent_id` out to use its own.")
        read_lookup(answer, self._rules)

    def _found(self, told: dict[str, Any], wanted: str | None) -> Found[None]:
        def at(pointers: str | list[str] | None) -> Any:
            values = (point(told, pointer) for pointer in every(pointers))
            return next((value for value in values if value is not MISSING and value is not None), None)

        where = self._profile.found
        words = [word for pointer in every(where.status) if (word := at(pointer)) is not None]
        # Concurrent lookups may show the thread before and after a change.
        busy = any(equal(word, known) for word in words for known in self._words["busy"])
        status: ThreadStatus = "busy" if busy else self._status(words[0] if words else None)
        agent = at(where.agent_id)
        if wanted is not None and agent not in (None, wanted) and not self._names_agent:
            raise InvalidRequest(
                f"The run that waits is one of {agent!r}, and goes on with that. Leave `agent_id` out.",
                {"field": "agent_id"},
            )
        interrupts = self._interrupts(status, at(where.interrupts), at(where.interrupt))
        return Found(
            status=status,
            interrupts=interrupts,
            breakpoint=status == "interrupted" and not interrupts,
            agent_id=wanted or agent,
            values=with_messages(at(where.values), at(where.messages)),
            error=at(where.error),
            updated_at=moment(at(where.updated_at)),
            run_id=at(where.run_id),
        )

    def _status(self, word: Any) -> ThreadStatus:
        unset = self._profile.status.unset
        if word is None and unset is not None:
            return unset
        for status, words in self._words.items():
            if any(equal(word, known) for known in words):
                return status
        raise UpstreamUnrecognised(f"The profile {self._profile.name!r} knows no thread status {word!r}.")

    def _interrupts(self, status: ThreadStatus, listed: Any, asked: Any) -> tuple[Interrupt, ...]:
        if isinstance(listed, list) and (listed or self._profile.breakpoints):
            return tuple(self._interrupt(item) for item in listed)
        if asked is None and status != "interrupted":
            return ()
        return (Interrupt(None, asked),)  # an interrupted thread has a question, even if its value is missing

    def _interrupt(self, item: Any) -> Interrupt:
        where = self._profile.interrupt
        id_, value = point(item, where.id), point(item, where.value)
        if not isinstance(item, dict) and where.value:
            raise UpstreamUnrecognised(
                f"The profile {self._profile.name!r} knows no interrupts but objects, with id and value."
            )
        return Interrupt(id_ if isinstance(id_, str) else None, None if value is MISSING else value)

    def request(self, table: LookupTable | AgentTable, names: Mapping[str, Any]) -> Request:
        """Return the request of a lookup, with the names filled in."""
        method, _, path = table.request.partition(" ")
        body = None if table.json_ is None else Request.post("", fill(table.json_, names)).body
        return with_headers(self._profile, Request(method, fill_path(path, names), body))


def about_the_thread(profile: Profile) -> set[str]:
    """Return the names of the lookups that show the thread's state, and of those that they depend on."""
    where = profile.found
    about = (where.status, where.interrupts, where.interrupt, where.values, where.messages, where.error)
    needed = {_root(pointer) for pointers in (*about, where.updated_at) for pointer in every(pointers)}
    while True:
        more = {_root(profile.pick[name].of) for name in needed & set(profile.pick)}
        more |= {_root(at) for name in needed & set(profile.lookup) for at in profile.lookup[name].names.values()}
        if more <= needed:
            return needed
        needed |= more


def client_names(resume: Resume) -> dict[str, Any]:
    """Return the names that the client's request defines, for paths and templates."""
    given = {"thread_id": resume.thread_id, "agent_id": resume.body.agent_id}
    return {name: value for name, value in given.items() if value is not None}


def with_headers(profile: Profile, request: Request) -> Request:
    """Return the request with the header fields of the profile."""
    return replace(request, headers=tuple(profile.headers.items())) if profile.headers else request


def _picked(pick: PickTable, told: dict[str, Any]) -> Any:
    listed = point(told, pick.of)
    items = listed if isinstance(listed, list) else [listed]  # the item of an earlier pick
    fitting = [item for item in items if isinstance(item, dict) and _fits(item, pick.where)]
    if pick.which == "only" and len(fitting) > 1:
        raise AmbiguousInterrupt(
            f"{len(fitting)} runs of the thread wait for an answer, and this backend resumes one run at a time, "
            "which the draft's routes cannot name. Answer them by the backend's own API.",
            (),
        )
    return None if not fitting else fitting[-1 if pick.which == "last" else 0]


def _root(pointer: str) -> str:
    return parts(pointer)[0]


def _fits(item: Any, where: Mapping[str, Any]) -> bool:
    """Return True if an item has, at each pointer, the expected value, or one of several."""
    wanted = {at: value if isinstance(value, list) else [value] for at, value in where.items()}
    return all(any(equal(point(item, at), value) for value in values) for at, values in wanted.items())
