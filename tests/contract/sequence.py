"""Random sequences of answers: two callers whose pages may be old, double clicks, and somebody who moves the thread.

All chance comes from one seed, by which a sequence can be replayed.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any, Protocol

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ap_resume_shim import ResumeShim
from ap_resume_shim.core.dialect import Dialect
from ap_resume_shim.core.protocol import Mode
from ap_resume_shim.guard import MemoryGuard
from tests.contract.reference import Answer, Event, refusals, stopped, violations
from tests.support.calling import Call, http

Page = dict[str, str]
"""What a page shows: the questions by their ids."""

FIRST, SECOND = "first", "second"
OVERLAPPING = {"resume_in_progress", "thread_busy", "multiple_interrupts", "interrupt_not_pending"} | {
    "interrupt_already_answered",
    "thread_not_interrupted",
    "unsupported_input",
}
"""How an answer may be refused that meets others, or a thread that works."""


class Server(Protocol):
    """An agent server whose agents write down what they went through."""

    steps: tuple[int, int]
    rounds: tuple[int, int]
    """How many steps a sequence may have, and how many rounds of questions an agent."""
    pause: float
    """Seconds between two looks whether a thread is at rest."""
    work: float
    """How many seconds an agent works between two questions."""
    pace: float
    """About how long it takes from an answer to the next question, in seconds."""
    moves: tuple[str, ...]
    """How a thread is moved: `move` does it."""

    @property
    def app(self) -> ASGIApp:
        """The server, or a way to it."""

    async def start(self, rounds: list[int]) -> str:
        """A thread whose agent asks that many questions at once, round after round; it has asked the first."""

    async def page(self, thread: str) -> Page:
        """The questions that are pending, as any client reads them."""

    async def move(self, thread: str, how: str, rng: Random) -> None:
        """Change the thread without the shim: start the agent anew, fork it, edit its state."""

    async def at_rest(self, thread: str) -> bool:
        """Whether nothing runs."""

    async def events(self, thread: str) -> list[Event]:
        """What the agent went through, with questions named by `name`."""

    def name(self, id_: str) -> str:
        """The name of the question that has this id."""


UNDER_WAY: ContextVar[Answer] = ContextVar("UNDER_WAY")
"""The answer that a request of the shim belongs to."""


class Network:
    """What is between the shim and its server: delays of its own for each request and answer.

    It notes when the first look of each answer met the thread, and when the server took which answers.
    """

    def __init__(self, app: ASGIApp, rng: Random, delays: tuple[float, ...], clock: Callable[[], float]) -> None:
        self._app, self._rng, self._delays, self._clock = app, rng, delays, clock
        self.taken: list[tuple[float, str]] = []
        """When, and the id of the question."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = UNDER_WAY.get()
        there, back = self._rng.choice(self._delays), self._rng.choice(self._delays)
        body = bytearray()
        of_first_look = not answer.has_looked and scope["method"] == "GET" and scope["path"].startswith("/threads/")

        async def read() -> Message:
            message = await receive()
            body.extend(message.get("body", b""))
            return message

        async def slowly(message: Message) -> None:
            if message["type"] == "http.response.start":
                if message["status"] == 200:
                    self.taken += [(self._clock(), id_) for id_ in _answered(bytes(body))]
                if of_first_look:
                    answer.looked = min(answer.looked, self._clock())
                await asyncio.sleep(back)
                answer.has_looked = answer.has_looked or of_first_look
            await send(message)

        await asyncio.sleep(there)
        await self._app(scope, read, slowly)


def _answered(body: bytes) -> Iterable[str]:
    """The ids of the questions that a request of the shim answers."""
    sent = json.loads(body or b"{}")
    command = sent.get("command") or (sent.get("input") or {}).get("command")
    return command["resume"] if command else ()


@dataclass
class Click:
    """An answer that is about to be sent."""

    answer: Answer
    body: dict[str, Any]
    headers: dict[str, str]
    mode: Mode
    delay: float


@dataclass
class Sequence:
    """One thread, and all that is done to it."""

    rng: Random
    server: Server
    backend: Dialect[Any]
    clock: Callable[[], float]
    answers: list[Answer] = field(default_factory=list)
    story: list[str] = field(default_factory=list)
    """What happened, step by step, for a person."""
    pages: list[Page] = field(default_factory=list)
    """All that were read; the newest last."""
    thread: str = ""

    def __post_init__(self) -> None:
        delays = self.rng.choice(((0.0,), (0.0, 0.005, 0.02), (0.0, 0.02, self.server.work)))
        self.network = Network(self.server.app, Random(self.rng.random()), delays, self.clock)
        self.shim = ResumeShim(self.network, self.backend, guard=MemoryGuard(clock=self.clock))

    async def run(self) -> list[str]:
        """Some steps, then all that is left; returns what the contract forbids."""
        rounds = [self.rng.choice((1, 1, 1, 2, 3, 4)) for _ in range(self.rng.randint(*self.server.rounds))]
        self.thread = await self.server.start(rounds)
        self.story.append(f"started with {rounds} questions")
        found = []
        for _ in range(self.rng.randint(*self.server.steps)):
            found += await self._step()
        found += await self._finish()
        events = await self._events()
        self.story += [f"{event.at:.6f} {event.kind} {event.question} {event.value or ''}" for event in events]
        return found + violations(self.answers, events)

    async def _step(self) -> list[str]:
        await self._read()
        if self.server.moves and self.rng.random() < 0.15:
            await self._rest()
            how = self.rng.choice(self.server.moves)
            self.story.append(f"moved: {how}")
            await self.server.move(self.thread, how, self.rng)
            return []
        resting = self.rng.random() < 0.7 and await self._rest()
        events = await self._events()
        clicks = self._clicks()
        if resting and not self.pages[-1] and stopped(events):
            answer = Answer(self._mark(), goes_on=True)
            clicks = [Click(answer, {}, {}, self.rng.choice(tuple(Mode)), 0.0)]
        for click in clicks:
            self.answers.append(click.answer)
        await asyncio.gather(*map(self._send, clicks))
        return self._unexpected(clicks, events if resting else None)

    async def _finish(self) -> list[str]:
        """Whatever happened, the thread can be brought to its end."""
        for _ in range(20):
            await self._rest()
            page, events, mark = await self._read(), await self._events(), self._mark()
            click = Click(Answer(mark), {}, {}, Mode.WAIT, 0.0)
            if page:
                click = self._named_click(dict.fromkeys(page, mark), click)
            elif stopped(events):
                click.answer.goes_on = True
            else:
                return []
            self.answers.append(click.answer)
            await self._send(click)
            if found := self._unexpected([click], events):
                return found
        return ["the thread comes to no end"]

    async def _read(self) -> Page:
        self.pages.append(await self.server.page(self.thread))
        return self.pages[-1]

    async def _events(self) -> list[Event]:
        """What came of each question, in order."""
        taken = [Event(at, "taken", self.server.name(id_)) for at, id_ in self.network.taken]
        return sorted(taken + await self.server.events(self.thread), key=lambda event: event.at)

    async def _rest(self) -> bool:
        """Wait until every accepted answer was heard and nothing runs; what is never heard is found at the end."""
        for _ in range(60):
            if await self.server.at_rest(self.thread):
                heard = json.dumps([event.value for event in await self.server.events(self.thread)])
                if all(answer.mark in heard for answer in self.answers if answer.accepted and not answer.goes_on):
                    await self._read()
                    return True
            await asyncio.sleep(self.server.pause)
        return False

    def _clicks(self) -> list[Click]:
        """One answer or two, each perhaps more than once."""
        callers = self.rng.choice(((FIRST,), (SECOND,), (FIRST, SECOND)))
        clicks = []
        for caller in callers:
            click = self._decide(caller)
            keyed = self.rng.random() < 0.2
            if keyed:
                click.headers["idempotency-key"] = click.answer.mark
            for number in range(self.rng.choice((1, 1, 1, 2, 3))):
                clicks.append(click if not number else self._again(click, same=keyed))
        return clicks

    def _again(self, click: Click, *, same: bool) -> Click:
        """The same once more, with a mark of its own unless it is to be the very same."""
        text = json.dumps([click.body, click.answer.value, click.answer.named])
        mark = click.answer.mark
        if not same:
            mark = self._mark()
            text = text.replace(click.answer.mark, mark)
        body, value, named = json.loads(text)
        answer = replace(click.answer, mark=mark, value=value, named=named)
        return replace(click, answer=answer, body=body, headers=dict(click.headers), delay=click.delay + self._delay())

    def _delay(self) -> float:
        pace = self.server.pace
        return self.rng.choice((0.0, 0.01, self.rng.uniform(0, pace), self.rng.uniform(0, 3 * pace)))

    def _mark(self) -> str:
        self._marks = getattr(self, "_marks", 0) + 1
        return f"<{self._marks}>"

    def _value(self, mark: str) -> Any:
        return self.rng.choice((mark, mark, {"approved": mark}, [mark], {"fail": mark}))

    def _decide(self, caller: str) -> Click:
        """An answer to what a page shows: as a rule the newest, now and then an old card."""
        old = self.rng.random() < 0.25
        page = self.rng.choice(self.pages) if old else self.pages[-1]
        mark = self._mark()
        click = Click(Answer(mark), {}, {"authorization": caller}, self.rng.choice(tuple(Mode)), self._delay())
        ids = list(page)
        value = self._value(mark)
        form = self.rng.choice(("plain", "plain", "some", "all", "pin", "pinned key", "pinned map", "mixed"))
        if form == "plain" or not ids:
            return replace(click, answer=replace(click.answer, value=value), body={"input": value})
        some = self.rng.sample(ids, self.rng.randint(1, len(ids)))
        match form:
            case "some":
                return self._named_click({id_: self._value(mark) for id_ in some}, click)
            case "all":
                return self._named_click({id_: self._value(mark) for id_ in ids}, click)
            case "mixed" if not old:  # which the shim cannot know for an id that it never saw
                answer = replace(click.answer, mixed=True)
                return replace(click, answer=answer, body={"input": {some[0]: value, "comment": mark}})
            case "pinned map" if len(some) > 1:
                value = dict.fromkeys(some, mark)
        named = self._named_click({some[0]: value}, click)
        if form == "pinned key":
            named.body["interrupt_id"] = some[0]
        elif self.rng.random() < 0.5:
            named.body = {"input": value, "interrupt_id": some[0]}
        else:
            named.body = {"input": value}
            named.headers["ap-interrupt-id"] = some[0]
        return named

    def _named_click(self, by_id: dict[str, Any], click: Click) -> Click:
        named = {self.server.name(id_): value for id_, value in by_id.items()}
        return replace(click, answer=replace(click.answer, named=named), body={"input": by_id})

    async def _send(self, click: Click) -> None:
        await asyncio.sleep(click.delay)
        answer, answer.sent = click.answer, self.clock()
        UNDER_WAY.set(answer)
        headers = [(b"host", b"here"), *((key.encode(), value.encode()) for key, value in click.headers.items())]
        body = {"thread_id": self.thread, "on_disconnect": "continue", **click.body}
        call = Call(json.dumps(body).encode())
        await call(self.shim, http("PATCH", click.mode.route, headers=headers))
        answer.status = call.status
        answer.replayed = b"idempotency-replayed" in dict(call.sent[0]["headers"])
        if call.status != 200:
            answer.code = json.loads(call.answer)["code"]
        self.story.append(f"{' '.join(click.headers.values())} {click.mode.name} {answer}, done {self.clock():.6f}")

    def _unexpected(self, clicks: list[Click], before: list[Event] | None) -> list[str]:
        """What was answered as it may not be; `before` are the events that led to a thread at rest."""
        answers = [click.answer for click in clicks]
        allowed: list[set[str | None]] = [{None, *OVERLAPPING} for _ in answers]
        if before is not None:
            alone = [refusals(answer, before) for answer in answers]
            if any(None in codes for codes in alone) and not any(answer.status == 200 for answer in answers):
                return [f"none of these was accepted: {[str(answer) for answer in answers]}"]
            if len(answers) == 1:
                allowed = alone
        pairs = zip(answers, allowed, strict=True)
        return [f"{answer}: expected {codes}" for answer, codes in pairs if answer.code not in codes]
