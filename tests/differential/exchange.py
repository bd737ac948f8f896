"""What becomes of a case of `framing` at a proxy: what the client was answered, and what the origin read."""

from __future__ import annotations

from dataclasses import dataclass

from tests.differential.client import Answer, Client
from tests.differential.framing import BROKEN, CLOSED, CUT, READ, REFUSED, Case
from tests.differential.proxies import Proxy
from tests.differential.readings import Reading, by_h11, by_httptools

PATIENCE = 0.5
"""Seconds that an answer is waited for: some requests have no end, and get none."""
LAST = b"GET /last HTTP/1.1\r\nHost: here.example\r\nConnection: close\r\n\r\n"
"""Sent behind a case: what is left over of it would be read as a part of this."""
AFTER = b"GET /after HTTP/1.1\r\nHost: here.example\r\n\r\n"
"""Sent by somebody else when all is over: it may meet what a case has left behind."""
NEVER = (b"transfer-encoding", b"content-length", b"host")
"""Fields that no trailer may be."""


@dataclass(frozen=True)
class Outcome:
    """What became of a case; `wrong` says what must not be, whatever the case."""

    what: str
    wrong: tuple[str, ...]
    answers: tuple[Answer, ...]
    upstream: tuple[bytes, ...]

    def __str__(self) -> str:
        statuses = "+".join(str(answer.status or answer.end) for answer in self.answers)
        return f"{self.what} ({statuses})" if self.what != REFUSED else statuses


def outcome(case: Case, proxy: Proxy) -> Outcome:
    """Send a case through a proxy, and see."""
    door = proxy.door
    door.forget()
    answers = _answers(case, proxy)
    after = _after(proxy)
    upstream = tuple(bytes(connection.raw) for connection in door.connections if connection.raw)
    readings = [(by_httptools(raw), by_h11(raw)) for raw in upstream]
    wrong = [f"two parsers differ: {one} {other}" for one, other in readings if one != other]
    agreed = [reading for one, _ in readings if not isinstance(one, str) for reading in one]
    theirs = [reading for reading in agreed if reading.target not in (b"/last", b"/after")]
    wrong += [f"goes on: {_shown(reading)}" for reading in theirs if _dangerous(reading)]
    wrong += [f"a trailer: {request.trailers!r}" for request in door.requests if _framing(request.trailers)]
    if (after.status, after.body) != (200, b"GET /after"):
        wrong.append(f"somebody else was answered {after.status} {after.body!r}")
    return Outcome(_what(case, answers, theirs), tuple(wrong), answers, upstream)


def _answers(case: Case, proxy: Proxy) -> tuple[Answer, ...]:
    """Every answer to a case, and to `LAST` behind it, up to the end of the connection."""
    with Client(proxy.port, patience=PATIENCE) as client:
        client.send(case.sent)
        method = case.meant[0].method if case.meant else "GET"
        answers = [client.answer(method)]
        if answers[0].end != "complete":
            return tuple(answers)
        client.send(LAST)
        while (answer := client.answer()).status:
            answers.append(answer)
        return (*answers, answer) if answer.end == "silent" else tuple(answers)


def _after(proxy: Proxy) -> Answer:
    with Client(proxy.port) as client:
        client.send(AFTER)
        return client.answer()


def _what(case: Case, answers: tuple[Answer, ...], came: list[Reading]) -> str:
    statuses = [answer.status for answer in answers]
    if not came:
        if statuses == [0]:
            return "silent" if answers[0].end == "silent" else CUT
        return REFUSED if len(answers) == 1 and _refuses(statuses[0]) else "answered"
    if not any(reading.complete for reading in came):
        return BROKEN if not any(200 <= status < 300 for status in statuses) else "answered all the same"
    meant = case.meant[: len(came)]
    if sorted(map(_key, came)) != sorted((each.method, each.target, each.body, True) for each in meant):
        return "read as " + ", ".join(map(_shown, came))
    due = [f"{each.method} {each.target}".encode("latin-1") if each.method != "HEAD" else b"" for each in meant]
    if [answer.body for answer in answers[: len(due)]] != due or set(statuses) != {200}:
        return "read, not answered"
    return READ if meant == case.meant else CLOSED if len(answers) == len(due) else "lost"


def _refuses(status: int) -> bool:
    return 400 <= status < 500 or status in (501, 505)


def _key(reading: Reading) -> tuple[str, str, bytes, bool]:
    return _text(reading.method), _text(reading.target), reading.body, reading.complete


def _dangerous(reading: Reading) -> bool:
    """Whether servers behind would still read this in two ways."""
    names = [name for name, _ in reading.fields]
    framed = names.count(b"content-length") + names.count(b"transfer-encoding")
    scheme, _, rest = reading.target.partition(b"://")
    elsewhere = rest and scheme in (b"http", b"https") and rest.split(b"/")[0] != dict(reading.fields).get(b"host")
    return framed > 1 or names.count(b"host") > 1 or (b"upgrade", b"h2c") in reading.fields or bool(elsewhere)


def _framing(trailers: bytes) -> bool:
    return any(line.partition(b":")[0].strip().lower() in NEVER for line in trailers.split(b"\r\n"))


def _text(value: bytes) -> str:
    return value.decode("latin-1")


def _shown(reading: Reading) -> str:
    body = reading.body if len(reading.body) < 40 else reading.body[:40] + b"..."
    return f"{_text(reading.method)} {_text(reading.target)[:40]} {body!r}{'' if reading.complete else ' unfinished'}"
