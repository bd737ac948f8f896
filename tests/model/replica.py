"""A replica of the shim: the real flow and a real guard, one step at a time, as `resumption.py` does them.

What is time and chance there is the test's choice here: which resume makes its next step, and what goes wrong in it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from inspect import getmembers, isfunction
from typing import Any, Literal, TypeVar, get_args

from ap_resume_shim.core import strictjson
from ap_resume_shim.core.dialect import Found
from ap_resume_shim.core.errors import (
    GuardUnavailable,
    HoldLapsed,
    ResumeError,
    UpstreamError,
    UpstreamUnreachable,
)
from ap_resume_shim.core.flow import resume_flow
from ap_resume_shim.core.flow_settings import FlowSettings
from ap_resume_shim.core.http import Request, Response
from ap_resume_shim.core.protocol import Mode, parse
from ap_resume_shim.core.steps import (
    Ask,
    AwaitCommit,
    CallGuard,
    ClientGone,
    Flow,
    Join,
    MarkAccepted,
    MarkIdle,
    Pause,
    ReadBody,
    ReadEvents,
    RepeatClaim,
    Reply,
    Send,
    SendReply,
    Step,
    StreamReply,
    guard,
)
from ap_resume_shim.guard import Guard, GuardSession, ResumeKey
from ap_resume_shim.guard.outbox import Outbox
from ap_resume_shim.guard.redis import RedisGuard
from ap_resume_shim.guard.redis_session import RedisSession
from tests.core.driving import NOW
from tests.model.backend import Asking, Backend, Said, as_input

T = TypeVar("T")
Form = Literal["plain", "keyed", "pinned"]
"""How an answer names its question, or does not."""
FORMS: tuple[Form, ...] = get_args(Form)
LEASE = 30.0

FAULTS = (
    "lookup breaks",
    "no connection",
    "refused",
    "failed before",
    "failed after",
    "broke before",
    "broke after",
    "cancelled",
    "client leaves",
    "error event",
)


PLACES = (
    "recall",
    "MarkIdle",
    "claim",
    "Send",
    "way",
    "wire",
    "taken",
    "MarkAccepted",
    "mark_rejected",
    "SendReply",
    "end",
)
"""Where a resume may stop while others go on."""
STEPS = {step.__name__ for step in get_args(Step)} | {name for name, _ in getmembers(guard, isfunction)}
"""The names of all steps, and of all calls of the guard."""


class Clock:
    """The time, in microseconds: the store's own, and what replicas take durations from."""

    def __init__(self) -> None:
        self.now = 1_000_000_000_000_000


class ModelOutbox(Outbox):
    """Delivers when the replica that it belongs to does something, and its store is within reach."""

    def _start(self) -> None:
        pass


class SharedGuard(RedisGuard):
    """A guard whose store can be out of reach, and slow to tell of an arrival."""

    away = ""
    """What becomes of a call: nothing reaches the store, or its answer does not come back, or it is made twice."""
    reading: asyncio.Event | None = None
    """What the next arrival's reading waits for."""
    telling: list[asyncio.Task[Any]]

    async def call(self, script: str, ticket: ResumeKey, *arguments: Any) -> Any:
        if script == "begin" and self.reading is not None:
            await self.reading.wait()
        if self.away == "before":
            raise GuardUnavailable("away")
        told = await super().call(script, ticket, *arguments)
        if self.away == "after":
            raise GuardUnavailable("away")
        return await super().call(script, ticket, *arguments) if self.away == "twice" else told

    def in_background(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = super().in_background(work)
        if getattr(work, "__name__", "") == "_call":
            self.telling.append(task)
        return task


class Replica:
    """One process: its guard, its clock, and the loop that its guard runs in."""

    def __init__(self, clock: Clock, loop: asyncio.AbstractEventLoop) -> None:
        self._clock, self._loop, self.ahead = clock, loop, 0.0
        self.guard: Guard
        self.number = 0

    def clock(self) -> float:
        """Seconds of its own clock, which may have stood still for a while."""
        return self._clock.now / 1_000_000 + self.ahead

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Await something, and whatever the guard tells its store beside it."""
        try:
            return self._loop.run_until_complete(work)
        finally:
            if isinstance(self.guard, SharedGuard):
                while self.guard.telling:
                    self._loop.run_until_complete(self.guard.telling.pop())
                if self.guard.away in ("", "twice"):
                    self._loop.run_until_complete(self.guard.outbox.deliver())

    def finish_reading(self, arrival: GuardSession) -> None:
        """Wait for what the store tells of an arrival: when it comes is the test's choice alone."""
        if isinstance(arrival, RedisSession):
            self._loop.run_until_complete(asyncio.wait({arrival._reading}))

    def begin(self, ticket: ResumeKey) -> GuardSession:
        """Note an arrival; the store is asked at once, and tells when `reading` is set."""

        async def begin() -> GuardSession:
            arrival = self.guard.begin(ticket)
            await asyncio.sleep(0)
            return arrival

        return self._loop.run_until_complete(begin())


class UnderWay:
    """One resume under way."""

    def __init__(
        self,
        number: int,
        says: tuple[Said, ...],
        mode: Mode,
        replica: Replica,
        backend: Backend,
        *,
        key: str | None = None,
        form: Form = "plain",
        deletes: bool = False,
    ) -> None:
        self.number, self.says, self.mode, self.key, self.form, self.deletes = number, says, mode, key, form, deletes
        self.said = said = says[0]
        self.replica, self._backend = replica, backend
        self.thread = backend.threads[said.thread]
        self.looked = self.holds = self.lapsed = self.ended = self.left = self.dead = False
        self.reply: Reply | StreamReply | None = None
        self.error: ResumeError | None = None
        self.kept: Reply | None = None
        """What the guard was given to keep."""
        by_id = {backend.id(self.thread, said.gate, said.part): as_input(said) for said in says}
        body = {
            "thread_id": said.thread,
            "input": by_id if form == "keyed" else as_input(said),
            "interrupt_id": next(iter(by_id)) if form == "pinned" else None,
            "on_completion": "delete" if deletes else "keep",
        }
        resume = parse(strictjson.dumps(body), mode, now=NOW)
        kind = backend.kind
        dialect = Asking(commit="late" if kind.late else "with_answer", straddles=kind.straddles)
        self._flow = resume_flow(resume, dialect, FlowSettings(settle=0.2, settle_step=0.1))
        self._reading = asyncio.Event()
        if isinstance(replica.guard, SharedGuard):
            replica.guard.reading = self._reading
        self._arrival = replica.begin(
            ResumeKey(
                said.thread,
                resume.fingerprint,
                key=None if key is None else f"{mode}-{key}",
                repeat=resume.fingerprint,
                window=replica.guard.duplicate_window,
            )
        )
        self._accepted = False
        self._claims = 0
        self._looks: list[Response | Found[Any]] = []
        """What came of a lookup so far, of which some requests are not answered yet."""
        self.commit: Flow | None = None
        """The lookups that show the resume in the thread's state, beside the flow."""
        self._commit_step: Step | None = None
        self._request: Request | None = None
        self.sending = ""
        """Where a `Send` is: "" not begun, "way" may still be stopped, "wire" may not, "taken" by the backend."""
        self.stray = False
        """On its way still, though the flow goes on without it, since the client has left."""
        self._response = Response(0)
        self._step: Step = next(self._flow)

    def __repr__(self) -> str:
        return f"<{self.number} {self.says} {self.form} {self.mode.name} {self.key} {self.sending or self._step}>"

    def answered_reading(self) -> None:
        """The store tells how the thread stood."""
        self._reading.set()
        self.replica.finish_reading(self._arrival)

    def go(self, fault: str = "") -> None:
        """Do the step that the flow waits for, or the next part of it; or nothing, where it has to wait."""
        if self.left:
            return
        if self.ended and self.commit is not None:
            self.look_for_commit()
            return
        if self.ended:
            self.left, self.holds = True, False
            self._guard(self._arrival.close())
            return
        if fault == "cancelled":
            self._is_cancelled()
            return
        try:
            result = self._do(self._step, fault)
        except _NotYetError:
            return
        except Exception as failure:
            self._advance(failure)
        else:
            self._advance(result)

    def look_for_commit(self) -> None:
        """Do the next step of the lookups that end when the thread's state shows the resume."""
        assert self.commit is not None
        step, result = self._commit_step, None
        if isinstance(step, Ask):
            result = tuple(self._backend.answer(request, self.thread.name, self.number) for request in step.requests)
        try:
            self._commit_step = self.commit.send(result)
        except StopIteration:
            self._committed()

    def give_up_commit(self) -> None:
        """The state has not shown the resume in time."""
        if self.commit is not None:
            self._committed()

    def _committed(self) -> None:
        self.commit, self.holds = None, False
        self._guard(self._arrival.mark_committed())

    def go_until(self, *places: str) -> None:
        """Go on to one of some places, or for as long as nobody else has to go on first."""
        for _ in range(40):
            if self.left or any(self._is_at(place) for place in places):
                return
            self.go()

    def _is_at(self, place: str) -> bool:
        """Places: what a `Send` has reached, steps and calls of the guard by name, wherever a fault can strike."""
        step = self._step
        match place:
            case "way" | "wire" | "taken":
                return self.sending == place and isinstance(step, Send)
            case "lookup breaks":
                return isinstance(step, Ask)
            case "no connection":
                return self._is_at("way")
            case "refused" | "failed before" | "failed after" | "broke before":
                return self._is_at("wire")
            case "error event":
                return self._is_at("wire") and self.mode is Mode.STREAM
            case "broke after":
                return self._is_at("taken") or isinstance(step, ReadBody | ReadEvents)
            case "cancelled":
                return self._is_at("wire") or self._is_at("taken")
            case "client leaves":
                return self._can_leave(step)
        assert place in STEPS | {"end", ""}, place
        name = step.method if isinstance(step, CallGuard) else type(step).__name__
        return name == place or (place == "end" and self.ended)

    @property
    def may_slip_out(self) -> bool:
        """Its guard was told that it counts as taken; until then, it is on its way as any other."""
        return self.stray and self._accepted

    def _is_cancelled(self) -> None:
        """The task is cancelled, by a server that shuts down, say: what is on the wire arrives."""
        if self.sending == "wire":
            self.arrives()
        self.ended = True
        self._flow.close()

    def slips_out(self) -> None:
        """What was on its way when its client left reaches a connection."""
        self.stray = False
        try:
            self._fence()
        except HoldLapsed:
            return
        assert self._request is not None
        self._backend.take(self._request, self.number)

    def arrives(self) -> None:
        """What is on the wire reaches the backend."""
        assert self._request is not None and self.sending == "wire"
        self._response, self.sending = self._backend.take(self._request, self.number), "taken"

    def _advance(self, result: Any) -> None:
        try:
            self._step = self._flow.throw(result) if isinstance(result, Exception) else self._flow.send(result)
            return
        except (StopIteration, ClientGone):
            pass
        except ResumeError as error:
            self._keep(Reply(error.http_status, error.body(), error.headers))
            self.error = error
        self.ended = True
        self._flow.close()

    def _do(self, step: Step, fault: str) -> Any:
        if fault == "client leaves":
            self._client_leaves(step)
        match step:
            case Ask(requests):
                if fault == "lookup breaks":
                    raise UpstreamError("The lookup broke off.")
                if requests[0].target.startswith("cancel") and not self._backend.everybody_looked(self.thread.name):
                    raise _NotYetError  # a cancellation asks the next question, as the agent does
                self.looked = True
                return self._look(requests)
            case Pause():
                return None
            case CallGuard(method):
                if method == "claim":
                    return self._claim(step)
                result = self._guard(step.on(self._arrival))
                if method == "mark_rejected":
                    self.holds = False
                return result
            case RepeatClaim(claim, seconds):
                rival = self._claim(claim)
                self._claims += 1
                if rival == "holding" and self._claims % 2:
                    raise _NotYetError  # it has another attempt
                return rival, seconds if rival == "holding" else seconds / 2
            case MarkIdle():
                self._guard(self._arrival.mark_idle())
                if self.commit is not None:
                    self._committed()
                return None
            case Send(request):
                return self._send(request, fault)
            case MarkAccepted(run_id, _, commit):
                self._accepted, self.holds, self.commit = True, commit is not None, commit
                return self._guard(self._arrival.mark_accepted(run_id, hold=commit is not None))
            case AwaitCommit():
                if self.commit is not None:
                    raise _NotYetError
                return None
            case Join(request):
                goes_on = self._backend.goes_on(self.thread, request.target.split(" ")[1])
                return Response(200) if goes_on else Response(404)
            case ReadBody() | ReadEvents():
                return self._read(step, fault)
            case SendReply(Reply() | StreamReply() as reply):
                return self._answer(reply)
            case _:
                raise AssertionError(f"the modelled backend has all three modes, no need of {step}")

    def _look(self, requests: tuple[Request, ...]) -> tuple[Response | Found[Any], ...]:
        """The answers to the requests of a lookup, one after the other: the thread may change between them."""
        self._looks.append(self._backend.answer(requests[len(self._looks)], self.thread.name, self.number))
        if len(self._looks) < len(requests):
            raise _NotYetError
        looks, self._looks = tuple(self._looks), []
        return looks

    def _claim(self, step: CallGuard[Any]) -> Any:
        self.holds = True  # also where the store could not be asked: the claim may have reached it
        rival = self._guard(step.on(self._arrival))
        self.holds = rival is None
        return rival

    def _guard(self, work: Coroutine[Any, Any, T]) -> T:
        self.answered_reading()
        return self.replica.run(work)

    def _client_leaves(self, step: Step) -> None:
        if not self._can_leave(step):
            return
        if isinstance(step, Send):
            if self.sending == "wire":
                self.arrives()
            self.stray = self.sending == "way"
            self.sending = "left"
        raise ClientGone

    def _can_leave(self, step: Step) -> bool:
        """Whether the shell throws `ClientGone` into this step."""
        if isinstance(step, Send):
            sensitive = self.sending != ""
        elif isinstance(step, SendReply):
            sensitive = isinstance(step.reply, StreamReply)
        else:
            sensitive = isinstance(step, Pause | RepeatClaim | ReadBody | ReadEvents)
        return sensitive and not self.ended and self.mode is not Mode.BACKGROUND

    def _send(self, request: Request, fault: str) -> Response:
        """First the guard's last look; then the way to the wire, to the backend, and back."""
        self._request = request
        if self.sending == "":
            self._guard(self._arrival.forward())
            self.sending = "way"
            raise _NotYetError
        if self.sending == "way":
            if fault == "no connection":
                self.sending = ""
                raise UpstreamUnreachable("No connection.")
            self._fence()
            self.sending = "wire"
            raise _NotYetError
        if self.sending == "wire":
            self._reaches_the_backend(fault)
            raise _NotYetError
        if fault.startswith("broke"):
            raise UpstreamError("The backend broke off.")
        run = self._response.header("content-location")
        if (
            run
            and self._backend.kind.head_at_end
            and self.mode is Mode.WAIT
            and self._backend.goes_on(self.thread, run)
        ):
            raise _NotYetError
        return self._response

    def _fence(self) -> None:
        if not self._arrival.still_held():
            raise HoldLapsed("Too late.")

    def _reaches_the_backend(self, fault: str) -> None:
        match fault:
            case "refused":
                self.sending, self._response = "taken", Response(422, (), b'{"detail": "no"}')
            case "failed before":
                self.sending, self._response = "taken", Response(500)
            case "broke before":
                raise UpstreamError("The backend broke off.")
            case "error event" if self.mode is Mode.STREAM:
                self.sending, self._response = "taken", Response(200, (("error", "event"),))
            case "failed after":
                self.arrives()
                self._response = Response(500)
            case _:
                self.arrives()

    def _read(self, step: ReadBody | ReadEvents, fault: str) -> bytes:
        if fault.startswith("broke"):
            raise UpstreamError("The backend broke off.")
        run = self._response.header("content-location")
        if self._response.header("error"):
            return b'event: error\ndata: "no"\n\n'
        if self.mode is Mode.WAIT and run is not None and self._backend.goes_on(self.thread, run):
            raise _NotYetError
        told = strictjson.dumps({"run_id": run})
        return told if isinstance(step, ReadBody) else b"event: metadata\ndata: " + told + b"\n\n"

    def _answer(self, reply: Reply | StreamReply) -> None:
        self.reply = reply
        if isinstance(reply, Reply):
            self._keep(reply)
            return
        run = self._response.header("content-location")
        if run is not None and self._backend.goes_on(self.thread, run):
            raise _NotYetError

    def _keep(self, reply: Reply) -> None:
        if self._accepted and self.kept is None:
            self.kept = reply
            self._guard(self._arrival.keep(reply))


class _NotYetError(Exception):
    """The step cannot go on before somebody else has gone on."""
