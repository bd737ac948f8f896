"""Stages for `explain` without recorded answers: an assumed thread, and a real server's thread.

Neither sends the resume. The steps after it receive assumed responses.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ap_resume_shim.core import sse, strictjson
from ap_resume_shim.core.dialect import Dialect, Found, Lookup
from ap_resume_shim.core.http import Request, Response
from ap_resume_shim.core.interrupt import Interrupt
from ap_resume_shim.core.json_pointer import place
from ap_resume_shim.core.protocol import Resume
from ap_resume_shim.core.steps import (
    Ask,
    Join,
    Pause,
    ReadBody,
    ReadEvents,
    ReadHead,
    ReadLedger,
    ReadUntilIdle,
    Send,
    Step,
)
from ap_resume_shim.profiles.dialect import ProfileDialect
from ap_resume_shim.profiles.lookup import about_the_thread
from ap_resume_shim.profiles.schema import AgentTable, LookupTable
from ap_resume_shim.runtime.exchange import OWN_SCOPE, WrappedApp
from ap_resume_shim.runtime.limits import Limits
from ap_resume_shim.runtime.lookups import ask, read_until_idle
from ap_resume_shim.tools.uncontested import Uncontested

if TYPE_CHECKING:
    from starlette.types import ASGIApp


class Assumed:
    """A thread with one pending question, and placeholders such as RUN_ID for values that only the server knows."""

    assumes = False

    def __init__(self, resume: Resume, dialect: Dialect[Any]) -> None:
        self._resume, self._dialect = resume, dialect
        self.assumes = False
        self._uncontested = Uncontested()
        self._found = _assumed(resume, dialect)

    def lookup(self, flow: Lookup[Any]) -> Lookup[Any]:
        """Yield the requests of the lookup, and return the assumed state."""
        if isinstance(self._dialect, ProfileDialect):
            yield from Ask(_lookups(self._resume, self._dialect, again=self.assumes))
        else:
            yield next(flow)
        flow.close()
        return self._state()

    def _state(self) -> Found[Any]:
        """Return the assumed state: idle once the resume was sent."""
        return self._found if not self.assumes else replace(self._found, status="idle", interrupts=(), answered=())

    def answer(self, step: Step) -> Any:
        """Return a minimal result for a step; it names the run where a profile has a place for it."""
        match step:
            case Ask(requests):
                return tuple(Response(200, (), b"{}") for _ in requests)
            case ReadUntilIdle():
                return Response(200)
            case ReadLedger():
                return []
            case Send() | Join() | ReadHead():
                self.assumes = True
                return Response(200)
            case ReadBody() | ReadEvents():
                return _answer(self._resume, self._dialect)
            case _:
                return self._uncontested.answer(step)


class Live(Assumed):
    """A thread on a real server: requests before the resume that only read are sent, and no others."""

    def __init__(
        self,
        resume: Resume,
        dialect: Dialect[Any],
        app: ASGIApp,
        headers: Iterable[tuple[str, str]] = (),
        prefix: str = "",
    ) -> None:
        """`app` is a proxy of the server; `headers` are the client's, such as its credentials."""
        super().__init__(resume, dialect)
        self._app, self._wrapped = app, WrappedApp(app, prefix, Limits())
        fields = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        self._scope = {**OWN_SCOPE, "headers": [*OWN_SCOPE["headers"], *fields]}
        self._looking = False
        self._runner = asyncio.Runner()

    def close(self) -> None:
        """Close all connections."""
        if aclose := getattr(self._app, "aclose", None):
            self._runner.run(aclose())
        self._runner.close()

    def lookup(self, flow: Lookup[Any]) -> Lookup[Any]:
        """Run the lookup on the server; after the resume, which is not sent, return the assumed state."""
        if self.assumes:
            return (yield from super().lookup(flow))
        self._looking = True
        self._found = yield from flow
        self._looking = False
        return self._found

    def answer(self, step: Step) -> Any:
        """Return the server's response to a lookup; an assumed one for a request that may change something."""
        match step:
            case Ask(requests) if not self.assumes and (self._looking or all(map(_reads, requests))):
                return self._runner.run(self._send(requests))
            case ReadUntilIdle() if self._looking:
                return self._runner.run(read_until_idle(self._wrapped, self._scope, step))
            case Pause(seconds) if not self.assumes:
                return self._runner.run(asyncio.sleep(seconds))
            case _:
                return super().answer(step)

    async def _send(self, requests: tuple[Request, ...]) -> tuple[Response, ...]:
        responses = (ask(self._wrapped, self._scope, request) for request in requests)
        return tuple(await asyncio.gather(*responses))


def _assumed(resume: Resume, dialect: Dialect[Any]) -> Found[Any]:
    """Return the assumed state. For a profile, it has only the values that `[found]` has pointers for."""
    table = dialect.profile.found if isinstance(dialect, ProfileDialect) else None
    ids = table is None or table.interrupts is not None
    return Found(
        "interrupted",
        (Interrupt(resume.body.interrupt_id or "INTERRUPT_ID" if ids else None),),
        agent_id=resume.body.agent_id or (None if table and table.agent_id is None else "AGENT_ID"),
        run_id=None if table and table.run_id is None else "RUN_ID",
    )


def _lookups(resume: Resume, dialect: ProfileDialect, *, again: bool) -> tuple[Request, ...]:
    """Return the requests of a profile's lookups. Values that only responses contain are their names in capitals."""
    profile, agent = dialect.profile, resume.body.agent_id
    about_thread = about_the_thread(profile)
    tables: list[LookupTable | AgentTable] = [
        table for name, table in profile.lookup.items() if not again or name in about_thread
    ]
    if profile.agent is not None and agent is not None and not again:
        tables.append(profile.agent)
    names = {name: name.upper() for table in profile.lookup.values() for name in table.names}
    names |= {"thread_id": resume.thread_id, "agent_id": agent or "AGENT_ID"}
    return tuple(dialect.reader.request(table, names) for table in tables)


def _answer(resume: Resume, dialect: Dialect[Any]) -> bytes:
    """Return the body of the assumed response to a resume; it names the run where a profile has a place for it."""
    if not isinstance(dialect, ProfileDialect):
        return b"{}"
    run = place({}, dialect.profile.run.id, "RUN_ID")
    if dialect.response_kinds[resume.mode] == "events":
        return sse.encode("metadata", run)
    at = dialect.profile.wait.run if dialect.response_kinds[resume.mode] == "result" else ""
    return strictjson.dumps(place({}, at, run) if at else run)


def _reads(request: Request) -> bool:
    """True if a request outside a lookup certainly changes nothing: a GET, or a JSON-RPC call that reads a task."""
    if request.method == "GET":
        return True
    body = request.json
    return isinstance(body, dict) and body.get("method") in ("tasks/get", "GetTask")
