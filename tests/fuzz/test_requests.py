"""Requests that are not quite: what reaches the origin is what a strict reader reads, or nothing."""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import dataclass
from random import Random
from typing import Any
from urllib.parse import unquote

import pytest

from tests.differential.client import Client
from tests.differential.origin import Exchange, answer, chunk
from tests.differential.readings import by_h11, by_httptools
from tests.fuzz import VARIABLE, reading
from tests.fuzz.drafts import SEEDS, mutated
from tests.fuzz.reading import Message
from tests.fuzz.world import PATIENCE, QUIET, Heard, World, agent, digest, digest_of, settled, world
from tests.support.seeding import seeds

ROUTES = ("/runs/resume", "/runs/resume/wait", "/runs/resume/stream")
SENDS = (b"/runs", b"/runs/wait", b"/runs/stream")
HOPS = frozenset(
    b"connection keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer transfer-encoding "
    b"upgrade http2-settings content-length".split()
)
"""What belongs to one connection, or is the framing's."""
NEVER_AFTER = HOPS | frozenset(b"authorization content-encoding content-range content-type cookie expect host".split())


@dataclass
class Case:
    """What one client sends on one connection: a good request, what the dice make, mostly a good request again."""

    parts: list[bytes]
    together: bool
    """Whether all of it is sent before an answer is read."""
    changed: bool

    @property
    def sent(self) -> bytes:
        return b"".join(self.parts)


def good(name: str) -> bytes:
    """A request without a fault."""
    return f"GET /fuzz/{name} HTTP/1.1\r\nHost: here.example\r\n\r\n".encode()


def case_of(seed: int) -> Case:
    """The case that a seed makes."""
    dice = Random(seed)
    middle, plain = b"", b""
    for number in range(dice.choice((1, 1, 1, 2))):
        at, token = dice.getrandbits(64), f"{seed}-{number}".encode()
        draft = SEEDS[dice.randrange(len(SEEDS))]
        plain += bytes(draft(Random(at), token))
        middle += mutated(draft(Random(at), token), dice)
    parts, at = [good(f"{seed}-before")], 0
    for cut in sorted(dice.randrange(len(middle) + 1) for _ in range(dice.choice((0, 0, 1, 3)))):
        parts, at = [*parts, middle[at:cut]], cut
    if dice.random() < 0.1:  # the client leaves here
        return Case([*parts, middle[at : dice.randrange(at, len(middle) + 1)]], True, True)
    return Case([*parts, middle[at:], good(f"{seed}-after")], dice.random() < 0.4, middle != plain)


async def play(exchange: Exchange) -> None:
    """Answer with the name of what was read, in chunks or not."""
    told = await agent(exchange)
    if told is None:
        name, head = digest_of(exchange.request), exchange.request.method == b"HEAD"
        told = answer(name, b"X-Read: " + name)
        if name[0] in b"01234567":
            fields = b"HTTP/1.1 200 OK\r\nX-Read: %b\r\nTransfer-Encoding: chunked\r\n\r\n"
            told = fields % name + chunk(name) + b"0\r\n\r\n"
        if head:
            told = told.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
    await exchange.play(told)


def is_resume(message: Message) -> bool:
    """Whether it is one of the routes that are not passed on."""
    path = message.start[1].partition(b"?")[0].decode("latin-1")
    return message.start[0] == b"PATCH" and unquote(path) in ROUTES


def passed_on(message: Message) -> tuple[Any, ...]:
    """What of a request has to arrive, and all that may."""
    dropped = HOPS | message.options()
    fields = [field for field in message.fields if field[0] not in dropped and field[0] != b"host"]
    trailers = [field for field in message.trailers if field[0] not in NEVER_AFTER]
    return (*message.start[:2], message.body, tuple(fields), tuple(trailers))


class Exchanged:
    """What became of a case, and what is wrong with it."""

    def __init__(self, case: Case, world: World) -> None:
        self.case, self.world = case, world
        self.wrong: list[str] = []
        self.read = reading.requests(case.sent)
        self.methods = [message.start[0] for message in self.read.messages] + [b"GET"]
        world.door.forget()
        self._talk()
        if not settled(world.door):
            self.wrong.append("a connection to the origin hangs in the middle of a request")
        self._look_at_origin()
        self._look_at_answers()
        if crash := world.crashed():
            self.wrong.append(f"logged: {crash}")

    def _talk(self) -> None:
        *first, last = self.case.parts
        with Client(self.world.port, patience=PATIENCE) as client:
            self.heard = heard = Heard(client)
            for part in first:
                client.send(part)
                time.sleep(0.001)
            if not self.case.together:
                due = len(reading.requests(b"".join(first)).messages)
                heard.until(lambda read: _finals(read) >= due, self.methods, QUIET if due < 2 else PATIENCE)
            client.send(last)
            due, end = len(self.read.messages), self.read.end
            if end == "whole" and self.read.messages[-1].keeps:
                if not heard.until(lambda read: _finals(read) >= due, self.methods, PATIENCE):
                    self.wrong.append("hangs: neither an answer for each request nor an end")
            elif end == "partial":
                heard.until(lambda _: False, self.methods, QUIET)
            elif not heard.until(lambda _: False, self.methods, PATIENCE):
                self.wrong.append("hangs: the connection stays open")
            if not heard.leave():
                self.wrong.append("hangs: the client is gone, and the connection stays open")
        with Client(self.world.port, patience=PATIENCE) as other:
            other.send(good("other"))
            if other.answer().body != digest(b"GET", b"/fuzz/other", b""):
                self.wrong.append("somebody else is not answered")

    def _look_at_origin(self) -> None:
        door = self.world.door
        meant, sent = list(self.read.messages), []
        for raw in [bytes(connection.raw) for connection in door.connections if connection.raw]:
            read = reading.requests(raw)
            if read.end == "wrong":
                self.wrong.append(f"went on as what is no request, {read.why}: {raw[:2000]!r}")
            if not isinstance(one := by_httptools(raw), str) and one != by_h11(raw):
                self.wrong.append(f"went on as what two parsers read differently: {raw[:2000]!r}")
            sent += [each for each in read.messages if each.start[1] != b"/fuzz/other"]
        passed = Counter(passed_on(message) for message in sent if not _is_ours(message))
        may = [passed_on(message) for message in meant if not is_resume(message)]
        self.passed = sum(passed.values())
        if passed != Counter(may[: self.passed]):
            self.wrong.append(f"other requests went on: {list(passed - Counter(may[: self.passed]))!r} of {may!r}")
        self._look_at_resumes([message for message in sent if _is_send(message)])

    def _look_at_resumes(self, sent: list[Message]) -> None:
        """Each resume is sent once at most, and as the answer that it was."""
        meant = Counter(_answer_of(message) for message in self.read.messages if is_resume(message))
        for message in sent:
            body = json.loads(message.body)
            meant[body["thread_id"], json.dumps(body["input"]["command"]["resume"]["q"])] -= 1
        if meant and min(meant.values()) < 0:
            self.wrong.append(f"resumes were sent that nobody asked for, or twice: {meant!r}")

    def _look_at_answers(self) -> None:
        """Each request is answered as itself; one that may be refused, or what is none, may end it all."""
        came = reading.answers(self.heard.raw, self.methods, closed=self.heard.ended == "closed")
        finals = [each for each in came.messages if not each.start[1].startswith(b"1")]
        doubts = [bool(message.doubts) or _may_be_the_last(message) for message in self.read.messages]
        self.answered = 0
        for message, doubted, final in zip(self.read.messages, doubts, finals, strict=False):
            told = final.values(b"x-read")
            if final.start[1] == b"200" and told == [digest(*message.start[:2], message.body)]:
                self.answered += 1
            elif is_resume(message):
                self._look_at_answer_of_resume(message, final)
                self.answered += 1
            elif not doubted or told:
                self.wrong.append(f"{message.start!r} was answered {final.start!r} {final.fields!r} {final.body!r}")
        if came.end == "wrong":
            self.wrong.append(f"the answers are none, {came.why}: {self.heard.raw!r}")
        if len(finals) > len(self.read.messages) + (self.read.end != "whole"):
            self.wrong.append("an answer too many")
        if self.read.end == "whole" and not any(doubts) and self.answered < len(self.read.messages):
            self.wrong.append(
                f"{self.answered} of {len(self.read.messages)} requests were answered: {self.heard.raw!r}"
            )

    def _look_at_answer_of_resume(self, message: Message, final: Message) -> None:
        status, token = int(final.start[1]), _answer_of(message)[0].encode()
        if not self.case.changed and (status != 200 or token not in final.body):
            self.wrong.append(f"a good resume was answered {status} {final.body!r}")
        if status >= 500:
            self.wrong.append(f"a resume was answered {status} {final.body!r}")


def _finals(read: reading.Reading) -> int:
    return sum(not message.start[1].startswith(b"1") for message in read.messages)


def _is_ours(message: Message) -> bool:
    """Whether the shim itself asked, for a resume: for the thread, the last run, a policy for pages, the resume."""
    lookup = message.start[1].startswith(b"/threads/") or message.start[1] == b"/runs/search"
    return lookup or bool(message.values(b"access-control-request-method")) or _is_send(message)


def _is_send(message: Message) -> bool:
    return message.start[0] == b"POST" and message.start[1] in SENDS


def _may_be_the_last(message: Message) -> bool:
    """Whether what comes behind it may be left unread: another protocol was asked for, or the answer may end so."""
    return bool(message.values(b"upgrade")) or message.start[2] == b"HTTP/1.0"


def _answer_of(message: Message) -> tuple[str, str]:
    try:
        body = json.loads(message.body)
        return body["thread_id"], json.dumps(body["input"])
    except (ValueError, KeyError, TypeError):
        return "", ""


@pytest.fixture(scope="module")
def running() -> Any:
    with world() as made:
        made.door.play = play
        yield made


def test_what_reaches_the_origin_is_what_a_strict_reader_reads(running: World) -> None:
    wanted = seeds(VARIABLE, 3_000_000, 100, 2_000)
    print(f"requests, seeds {wanted[0]} to {wanted[-1]}")
    ends: Counter[str] = Counter()
    for seed in wanted:
        case = case_of(seed)
        became = Exchanged(case, running)
        parts = "\n".join(map(repr, case.parts))
        wrong = "\n".join(became.wrong)
        assert not became.wrong, f"{VARIABLE}={seed} replays this:\n{parts}\n{became.read.why}\n{wrong}"
        ends[became.read.end] += 1
        ends["passed on"] += became.passed
    print(dict(ends))
    if len(wanted) > 1:
        assert min(ends["whole"], ends["wrong"], 10 * ends["partial"]) > len(wanted) / 5
