"""The dialect of a profile: fills in its templates and reads responses by its pointers."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from ap_resume_shim.core import sse
from ap_resume_shim.core.dialect import DEFAULT_KINDS, Continue, Decision, Dialect, Found, Lookup, ResponseKind, Started
from ap_resume_shim.core.dialect_helpers import Rule, read_lookup, read_refusal
from ap_resume_shim.core.errors import (
    ConfigurationError,
    InvalidRequest,
    ResumeError,
    ThreadNotFound,
    UpstreamUnrecognised,
)
from ap_resume_shim.core.fingerprint import Fingerprint, plain_path
from ap_resume_shim.core.http import Request, Response
from ap_resume_shim.core.idempotency import one_spelling
from ap_resume_shim.core.json_pointer import MISSING, parts, place, point, walk
from ap_resume_shim.core.json_values import equal
from ap_resume_shim.core.listing import Candidate, Listing, Page, collect
from ap_resume_shim.core.protocol import Mode, Resume
from ap_resume_shim.core.reframer import Ended, Reframer, Relay
from ap_resume_shim.core.steps import Ask, Steps
from ap_resume_shim.core.vendor_resume import Convention, VendorResume, limited_to
from ap_resume_shim.profiles.carrying import answer_value, check_carried, check_recipient
from ap_resume_shim.profiles.convention import ProfileConvention
from ap_resume_shim.profiles.listing import ListedThreads
from ap_resume_shim.profiles.lookup import ThreadReader, client_names, with_headers
from ap_resume_shim.profiles.schema import Profile, answer_pointer
from ap_resume_shim.profiles.stream import ProfileStream
from ap_resume_shim.profiles.template import fill, fill_path, names_in
from ap_resume_shim.profiles.values import moment, with_messages

_DERIVED_FROM: dict[Mode, tuple[Mode, ...]] = {
    Mode.BACKGROUND: (Mode.STREAM, Mode.WAIT),
    Mode.WAIT: (Mode.BACKGROUND, Mode.STREAM),
    Mode.STREAM: (Mode.BACKGROUND, Mode.WAIT),
}
"""The modes that a missing mode is derived from, in order of preference."""


class ProfileDialect(Dialect[None]):
    """The dialect of a profile."""

    accepts_at_head = True
    makes_run_ids = True
    unlisted = "The profile of this server has no table `[list]`: read a thread by its id."

    def __init__(
        self, profile: Profile, *, resume_at: str | None = None, conventions: tuple[Convention, ...] = ()
    ) -> None:
        """`resume_at` overrides the place of the answer: a JSON pointer into the body; "" is the whole body.

        `conventions` are those that the profile names. Raises `ConfigurationError` for an invalid pointer.
        """
        try:
            self._answer_at = answer_pointer(profile.resume.answer if resume_at is None else resume_at)
        except ValueError as error:
            raise ConfigurationError(f"resume_at: {error}") from None
        self.profile = profile
        self._rules = tuple(Rule(e.status, e.raises, e.contains) for e in profile.error)
        self.reader = ThreadReader(profile, self._rules)
        self._run_id, self._run_of = parts(profile.run.id), parts(profile.wait.run)
        self._run_times = (parts(profile.run.created_at), parts(profile.run.updated_at))
        table = profile.resume
        lines = {Mode.BACKGROUND: table.background, Mode.WAIT: table.wait, Mode.STREAM: table.stream}
        sources = {mode: next(m for m in (mode, *_DERIVED_FROM[mode]) if lines[m] is not None) for mode in Mode}
        self._lines = {mode: str(lines[source]) for mode, source in sources.items()}
        own = {mode: str(line) for mode, line in lines.items() if line is not None}
        self.conventions = (ProfileConvention(profile.name, own, self._answer_at, table.json_), *conventions)
        self.response_kinds = {mode: DEFAULT_KINDS[source] for mode, source in sources.items()}
        self.starts_runs = not any("run_id" in names_in(line) for line in self._lines.values())
        self.name, self.family, self.thread_is = profile.name, profile.family, profile.thread_is
        self.limits = tuple(profile.limits)
        self.unsupported: frozenset[str] = frozenset(profile.unsupported)
        answer_in = {parts(self._answer_at)[0]} if self._answer_at else set()
        self.reserved: frozenset[str] = frozenset({*table.json_} | answer_in) - _FIELDS
        self.partial, self.forwards_extra = profile.partial, profile.forwards_extra
        self.commit = profile.resume.commit
        self.redirecting: frozenset[str] = frozenset(profile.resume.redirecting)
        form = profile.interrupt.id_form
        self.interrupt_id_form = None if form is None else re.compile(form)
        self.vocabulary = frozenset(profile.vocabulary)
        if profile.detect is not None:
            openapi = frozenset(map(plain_path, profile.detect.openapi))
            takes = {plain_path(route): frozenset(names) for route, names in profile.detect.takes.items()}
            self.specificity = profile.detect.specificity
            self.fingerprints = (
                Fingerprint(openapi, {**dict.fromkeys(profile.detect.info_has), **profile.detect.info}, takes),
            )

    def inspect_thread(self, resume: Resume, *, full: bool = True) -> Lookup[None]:
        """Send the profile's lookups concurrently, and the request for the agent that the client names.

        After a run, only the lookups about the thread are sent.
        """
        found = yield from self.reader.inspect_thread(resume, full=full)
        named = resume.run_id
        if named is None or found.run_id is None or one_spelling(named) == one_spelling(found.run_id):
            return found
        return limited_to(found, named, ())

    def list_waiting(self, page: Page) -> Steps[Listing]:
        """List threads with the profile's request, if it has one."""
        if self.profile.list_ is None:
            return super().list_waiting(page)
        return collect(page, [ListedThreads(self.profile, self.profile.list_, self._rules, page.agent_id)])

    def read_candidate(self, resume: Resume, candidate: Candidate) -> Lookup[None]:
        """Send the lookups about the thread; its agent may be in the list."""
        found = yield from self.inspect_thread(resume, full=False)
        return found if found.agent_id is not None else replace(found, agent_id=candidate.row)

    def check(self, resume: Resume, found: Found[None], verdict: Decision) -> None:
        """Check that the request can be filled in, has one recipient, and delivers the value unchanged.

        Raises `InvalidRequest`, `MultipleInterrupts` or `UnsupportedInput`.
        """
        table = self.profile.resume
        names = {"agent_id": found.agent_id, "run_id": found.run_id}
        for name, label in (("agent_id", "agent"), ("run_id", "run")):
            if names[name] is None and name in names_in(self._lines[resume.mode]):
                raise InvalidRequest(
                    f"The thread does not report its {label}, which this backend needs{_ADVICE[name]}."
                )
        check_recipient(table, found)
        if not isinstance(verdict, Continue):
            check_carried(self.profile, verdict, found)

    def resume(self, resume: Resume, found: Found[None], verdict: Decision) -> Request:
        """Return the request from the profile's template, with the answer in its place."""
        table, body = self.profile.resume, resume.body
        names = {
            **client_names(resume),
            "metadata": body.metadata,
            "config": None if body.config is None else body.config.model_dump(exclude_unset=True),
            "webhook": body.webhook,
            "agent_id": found.agent_id,
            "run_id": found.run_id,
            "on_disconnect": None if resume.mode is Mode.BACKGROUND else body.on_disconnect,
            "stream_mode": list(body.stream_modes) if self.response_kinds[resume.mode] == "events" else None,
        }
        value: Any = fill(table.json_, {name: item for name, item in names.items() if item is not None})
        if forwarded := self.forwarded(resume):
            value = {**forwarded, **value}
        if not isinstance(verdict, Continue):
            answer = answer_value(table, verdict, found)
            value = place(value, self._answer_at, answer) if self._answer_at else answer
        method, _, path = self._lines[resume.mode].partition(" ")
        accept = "text/event-stream" if self.response_kinds[resume.mode] == "events" else "application/json"
        payload = b"null" if value is None else Request.post("", value).body
        return with_headers(self.profile, Request(method, fill_path(path, names), payload, accept))

    def refusal(self, response: Response) -> ResumeError:
        """Return the error by the profile's rules, else by status."""
        return read_refusal(response, self._rules)

    def refused(self, resume: Resume, response: Response) -> ResumeError | None:
        """Return the refusal in the stream's first event, or the error for a run of another thread; else None."""
        return super().refused(resume, response) or self._other_thread_error(
            resume, self._run_in(response.body, self.response_kinds[resume.mode])
        )

    def started(self, response: Response, body: bytes, resume: Resume, found: Found[None]) -> Started[None] | None:
        """Return the run by `Content-Location`, by the body, or by the stream's first event; else the interrupted run.

        Raises `UpstreamUnrecognised` if the run belongs to another thread.
        """
        run = self._run_in(body, self.response_kinds[resume.mode])
        error = self._other_thread_error(resume, run)
        if error is not None:
            raise error
        location = response.header("content-location")
        run_id = walk(run, self._run_id)
        if location and run_id is MISSING:
            run_id = location.rstrip("/").rpartition("/")[2]
        if not isinstance(run_id, str):
            continues = "run_id" in names_in(self._lines[resume.mode])
            return Started(found.run_id, found.agent_id) if continues and found.run_id is not None else None
        created, updated = (
            None if (value := walk(run, keys)) is MISSING else moment(value) for keys in self._run_times
        )
        return Started(run_id, found.agent_id, created, updated)

    def _run_in(self, body: bytes, response_kinds: ResponseKind) -> Any:
        if response_kinds == "events":
            first = sse.first_event(body)
            return first.json if first is not None and first.name == "metadata" else {}
        run = Response(200, (), body).json
        return walk(run, self._run_of) if response_kinds == "result" else run

    def _other_thread_error(self, resume: Resume, run: Any) -> ResumeError | None:
        """Return the error for a run that names another thread than the resume; None for any other run."""
        thread_id = walk(run, ("thread_id",))
        if not isinstance(thread_id, str) or _normalised(thread_id) == _normalised(resume.thread_id):
            return None
        return UpstreamUnrecognised(
            f"The backend started a run of another thread, {thread_id}: it does not read the thread's id where the "
            f"{self.name!r} backend sends it. Stop that run, and let the operator set the right kind of server.",
            {"thread_id": thread_id, "resume_state": "unknown"},
        )

    def cancel(self, resume: Resume, started: Started[None]) -> Request | None:
        """Return the profile's `cancel` request."""
        return self._run_request(self.profile.run.cancel, resume, started)

    def join(self, resume: Resume, started: Started[None]) -> Request | None:
        """Return the profile's `join` request."""
        request = self._run_request(self.profile.run.join, resume, started)
        return None if request is None else replace(request, accept="text/event-stream")

    def location(self, resume: Resume, started: Started[None]) -> str | None:
        """Return the profile's `location` path."""
        path = self.profile.run.location
        names = _names_of_run(resume, started)
        return None if path is None or not names_in(path) <= set(names) else fill_path(path, names)

    def run(self, resume: Resume, started: Started[None]) -> Request | None:
        """Return the profile's `read` request."""
        return self._run_request(self.profile.run.read, resume, started)

    def awaited(self, resume: Resume, started: Started[None]) -> Request | None:
        """Return the profile's `wait` request for a run."""
        return self._run_request(self.profile.run.wait, resume, started)

    def has_ended(self, response: Response) -> bool:
        """Return True if the run's status is not one of the active ones."""
        status = point(response.json, self.profile.run.status)
        return not any(equal(status, active) for active in self.profile.run.active)

    def ended(self, body: bytes) -> Ended:
        """Return the result by the profile's `[wait]`. Raises `UpstreamUnrecognised`."""
        result, table = Response(200, (), body.strip()).json, self.profile.wait
        if table.values and not isinstance(result, dict):
            raise UpstreamUnrecognised(f"The profile {self.name!r} supports only objects as results.")
        values, messages, error = (
            MISSING if at is None else point(result, at) for at in (table.values, table.messages, table.error)
        )
        return Ended(
            with_messages(None if values is MISSING else values, None if messages is MISSING else messages),
            None if error is MISSING else error,
        )

    def reframer(self, resume: Resume, started: Started[None]) -> Reframer:
        """Return a reframer for the profile's `[stream]`; without that table, a relay."""
        table = self.profile.stream
        return Relay() if table is None else ProfileStream(table, resume.body.stream_modes)

    def locate(self, vendor: VendorResume) -> Steps[str]:
        """Read the run that the request names, by the profile's `read`. Raises `ThreadNotFound`."""
        line = self.profile.run.read
        if line is not None and vendor.run_id is not None and names_in(line) <= {"run_id"}:
            method, _, path = line.partition(" ")
            request = Request(method, fill_path(path, {"run_id": vendor.run_id}))
            (response,) = yield from Ask((with_headers(self.profile, request),))
            thread_id = point(read_lookup(response, self._rules), self.profile.run.thread_id)
            if isinstance(thread_id, str):
                return thread_id
        raise ThreadNotFound(
            f"The shim cannot find the thread of the run {vendor.run_id}: set its place in the profile "
            "(`[run] thread_id`)."
        )

    def delete(self, resume: Resume) -> Request | None:
        """Return the profile's `delete` request."""
        return self._run_request(self.profile.delete, resume, None)

    def _run_request(self, line: str | None, resume: Resume, started: Started[None] | None) -> Request | None:
        if line is None:
            return None
        method, _, path = line.partition(" ")
        names = _names_of_run(resume, started)
        return (
            with_headers(self.profile, Request(method, fill_path(path, names)))
            if names_in(path) <= set(names)
            else None
        )


_FIELDS = frozenset({"thread_id", "agent_id", "input", "messages", "metadata", "config", "webhook"}) | {
    "on_completion",
    "on_disconnect",
    "stream_mode",
}
_ADVICE = {"agent_id": ": name it in `agent_id`", "run_id": ""}


def _names_of_run(resume: Resume, started: Started[None] | None) -> dict[str, Any]:
    """Return the names for a request about a run.

    A run id that the shim created is left out: the server does not know it.
    """
    names = client_names(resume)
    return names if started is None or started.run_id == resume.nonce else {**names, "run_id": started.run_id}


def _normalised(thread_id: str) -> str:
    """Return a thread id without the parts in which spellings of a UUID differ."""
    return re.sub(r"^urn:uuid:|[{}-]", "", thread_id.lower())
