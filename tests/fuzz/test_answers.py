"""Answers of a hostile server: whoever asks is given their own answer whole, an error, or a visible break."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random

import pytest

from tests.differential.client import Client
from tests.differential.origin import Exchange, Request, Script, Step, answer
from tests.differential.rows import eventually
from tests.fuzz import VARIABLE, reading
from tests.fuzz.hostile import SEEDS, drafted, mutated
from tests.fuzz.reading import Message
from tests.fuzz.world import PATIENCE, Heard, World, agent, digest, digest_of, settled, world
from tests.support.seeding import seeds

ROUTES = {"": b"/runs", "/wait": b"/runs/wait", "/stream": b"/runs/stream"}
DROPPED = frozenset(
    b"connection keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer transfer-encoding "
    b"upgrade content-length".split()
)
"""What belongs to one connection, or is the framing's."""
LATER = 0.02
"""Seconds in which bytes that nobody asked for have reached the sidecar: later ones would be the next answer."""


@dataclass
class Case:
    """A request, and what the origin makes of its answer: `hostile` is where, `asked` what the client asks."""

    seed: int
    dice: Random = field(init=False)
    sent: bytes | None = None
    """What the origin sent as its answer, the last time that it was asked; None if it was not."""
    expected: Message | None = None
    """The answer in it, if there is one; `doubts`: it may be refused all the same."""
    cut_off: bool = False
    """Whether the connection was reset behind it, so that the whole of it may not have arrived."""

    def __post_init__(self) -> None:
        self.dice = Random(self.seed)
        self.token = f"token-{self.seed}"
        self.kind = self.dice.choice(("pass", "pass", "pass", "resume"))
        self.method = self.dice.choice(("GET", "GET", "HEAD", "POST")) if self.kind == "pass" else "PATCH"
        self.version = "HTTP/1.0" if self.method == "GET" and self.dice.random() < 0.2 else "HTTP/1.1"
        self.early = self.method == "POST" and self.dice.random() < 0.3
        self.route = self.dice.choice(tuple(ROUTES))
        self.place = self.dice.choice((b"/threads/", b"/runs/search", ROUTES[self.route], ROUTES[self.route]))

    @property
    def request(self) -> bytes:
        """What the client sends."""
        path, body = f"/fuzz/{self.token}", ""
        if self.kind == "resume":
            path = f"/runs/resume{self.route}"
            body = json.dumps({"thread_id": self.token, "input": "yes"})
        elif self.method == "POST":
            body = "z" * (200_000 if self.early else 100)
        lines = [f"{self.method} {path} {self.version}", "Host: here.example", "Connection: keep-alive"]
        lines += [f"Content-Length: {len(body)}"] if body else []
        return "\r\n".join([*lines, "", body]).encode()

    def is_at(self, request: Request) -> bool:
        """Whether this request is the one that is answered badly."""
        if self.kind == "resume":
            return (
                request.target.startswith(b"/threads/") if self.place == b"/threads/" else request.target == self.place
            )
        return request.target == f"/fuzz/{self.token}".encode()

    def script(self, good: bytes | None) -> Script:
        """What the origin does in place of a good answer."""
        dice = Random(self.seed + 1)
        draft = SEEDS[dice.randrange(len(SEEDS))](dice, self.token.encode()) if good is None else drafted(good)
        self.sent = data = mutated(draft, dice)
        end: Step | None = dice.choice((Step.CLOSE, Step.CLOSE, Step.RESET))
        read = self._read(data, closed=False)
        if self.expected is not None and not read.messages[-1].doubts and dice.random() < 0.8:
            end = None
        else:
            self._read(data, closed=end is Step.CLOSE)
        self.cut_off = end is Step.RESET
        cuts = [dice.randrange(len(data) + 1) for _ in range(dice.choice((0, 0, 1, 3)))]
        cuts = sorted([*cuts, len(data) - len(read.rest)] if dice.random() < 0.3 else cuts)
        if self.kind == "resume":  # what comes behind an answer and late is the answer to the shim's next request
            cuts = [cut for cut in cuts if cut < len(data) - len(read.rest)]
        parts = [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
        steps = [step for part in parts for step in (part, 0.001)]
        return (*steps, 0.01, end) if end else tuple(steps)

    def _read(self, data: bytes, *, closed: bool) -> reading.Reading:
        """Find the answer: a reading that ends before it has none, and what comes behind it is nobody's."""
        read = reading.answers(data, [self.asked], closed=closed)
        finals = [each for each in read.messages if not each.start[1].startswith(b"1")]
        self.expected = finals[0] if finals else None
        for message in read.messages:
            if self.expected is not None and message is not self.expected:
                self.expected.doubts += message.doubts
        return read

    @property
    def asked(self) -> bytes:
        """The method of the request that is answered badly."""
        if self.kind == "pass":
            return self.method.encode()
        return b"GET" if self.place == b"/threads/" else b"POST"


class Hostile:
    """The origin's part: good answers, but for the one place of the case that is on."""

    case: Case | None = None
    sends = playing = 0

    async def __call__(self, exchange: Exchange) -> None:
        """Answer."""
        case, request = self.case, exchange.request
        is_at = case is not None and case.is_at(request)
        if is_at and case is not None and case.early:
            await self._play(exchange, case.script(None))
        good = await agent(exchange)
        self.sends += request.method == b"POST" and request.target in ROUTES.values()
        if is_at and case is not None:
            if not case.early:
                await self._play(exchange, case.script(good))
        else:
            name = digest_of(request)
            await exchange.play(good or answer(name, b"X-Read: " + name))

    async def _play(self, exchange: Exchange, script: Script) -> None:
        self.playing += 1
        try:
            await exchange.play(*script)
        finally:
            self.playing -= 1


class Exchanged:
    """What became of a case, and what is wrong with it. `client`: a connection that was used before."""

    def __init__(self, case: Case, world: World, hostile: Hostile, client: Client) -> None:
        self.case, self.wrong = case, []
        world.door.forget()
        hostile.case, hostile.sends = case, 0
        method = case.method.encode()
        client.send(case.request)
        self.heard = heard = Heard(client)
        if not heard.until(lambda read: _final(read) is not None, [method], PATIENCE):
            self.wrong.append("hangs: neither an answer nor an end")
        hostile.case = None
        eventually(lambda: not hostile.playing, PATIENCE)
        if heard.until(lambda _: False, [method], LATER):
            time.sleep(LATER)
        came = reading.answers(heard.raw, [method], closed=heard.ended == "closed")
        got = _final(came)
        if came.rest and came.end != "partial":
            self.wrong.append(f"the client was sent what nobody asked for: {came.rest!r}")
        if hints := [each.fields for each in came.messages if each is not got and set(dict(each.fields)) - {b"link"}]:
            self.wrong.append(f"interim answers are more than hints: {hints}")
        self._look_at_answer(got) if case.kind == "pass" else self._look_at_resume(got)
        if b"127.0.0.1" in heard.raw:
            self.wrong.append("the client was told where the origin is")
        if case.sent is None:
            self.wrong.append("the origin was not asked")
        if hostile.sends > 1:
            self.wrong.append(f"the resume was sent {hostile.sends} times")
        self.client = self._next(world, client)
        if not settled(world.door):
            self.wrong.append("a connection to the origin hangs in the middle of a request")
        if crash := world.crashed():
            self.wrong.append(f"logged: {crash}")

    def _look_at_answer(self, got: Message | None) -> None:
        expected = self.case.expected
        if got is not None and expected is not None and _passed_on(got) == _passed_on(expected):
            return
        body = b"" if self.case.method == "HEAD" else b'{"message":'
        error = got is not None and got.start[1] in (b"502", b"504") and got.body.startswith(body)
        if expected is not None and not expected.doubts and not self.case.cut_off:
            self.wrong.append(f"a good answer did not arrive: {expected} became {got}")
        elif got is not None and not error:
            self.wrong.append(f"what was broken, or another, came as whole: {got}, not {expected}")

    def _look_at_resume(self, got: Message | None) -> None:
        if got is None:
            if self.case.route != "/stream":
                self.wrong.append("a resume was not answered")
            return
        status, token = int(got.start[1]), self.case.token.encode()
        if status == 200 and token not in got.body:
            self.wrong.append(f"another's answer: {got}")
        if status == 200 and self.case.place in ROUTES.values() and self.case.expected is None:
            self.wrong.append(f"what was broken came as whole: {got}")
        if status != 200 and (status == 500 or "code" not in json.loads(got.body)):
            self.wrong.append(f"no error of the list: {got}")

    def _next(self, world: World, client: Client) -> Client:
        """Ask on, on the same connection if it is there still."""
        if self.heard.ended:
            client.plug.close()
            client = Client(world.port, patience=PATIENCE)
        client.plug.settimeout(PATIENCE)
        path = f"/fuzz/after-{self.case.seed}".encode()
        client.send(b"GET %b HTTP/1.1\r\nHost: here.example\r\n\r\n" % path)
        if (after := client.answer()).body != digest(b"GET", path, b""):
            self.wrong.append(f"who asked next was answered {after}")
        return client


def _final(read: reading.Reading) -> Message | None:
    finals = [message for message in read.messages if not message.start[1].startswith(b"1")]
    return finals[0] if finals else None


def _passed_on(message: Message) -> tuple[object, ...]:
    dropped = DROPPED | message.options()
    fields = tuple(field for field in message.fields if field[0] not in dropped)
    return (message.start[1], message.body, fields)


@pytest.fixture(scope="module")
def running() -> Iterator[tuple[World, Hostile]]:
    with world() as made:
        made.door.play = hostile = Hostile()
        yield made, hostile


def test_everybody_is_given_their_own_answer_an_error_or_a_visible_break(running: tuple[World, Hostile]) -> None:
    world, hostile = running
    wanted = seeds(VARIABLE, 4_000_000, 60, 1_000)
    print(f"answers, seeds {wanted[0]} to {wanted[-1]}")
    became: Counter[str] = Counter()
    client = Client(world.port, patience=PATIENCE)
    for seed in wanted:
        exchanged = Exchanged(case := Case(seed), world, hostile, client)
        client, wrong = exchanged.client, "\n".join(exchanged.wrong)
        assert not wrong, f"{VARIABLE}={seed} replays this:\n{case}\n{wrong}\n{exchanged.heard.raw!r}"
        became[f"{case.kind}, {'no answer' if case.expected is None else 'an answer'}"] += 1
    print(dict(became))
    client.plug.close()
