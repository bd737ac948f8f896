"""Answers to begin with, and what a hostile server makes of them: other heads, other framing, too much, too little."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from tests.fuzz.drafts import SIZES, chunks, spoilt

CROSSED = b"X-Read: crossed"
"""What is in an answer that nobody asked for."""
CHUNKED = b"Transfer-Encoding: chunked"


@dataclass
class Draft:
    """An answer in parts that are joined as they are; `before`: interim answers; `after`: what nobody asked for."""

    first: bytes
    fields: list[bytes]
    body: bytes = b""
    end: bytes = b"\r\n"
    before: bytes = b""
    after: bytes = b""
    cut: int | None = field(default=None)

    def __bytes__(self) -> bytes:
        head = b"".join(line + self.end for line in [self.first, *self.fields, b""])
        return (self.before + head + self.body)[: self.cut] + self.after


def drafted(answer: bytes) -> Draft:
    """A draft of an answer as it stands."""
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *fields = head.split(b"\r\n")
    return Draft(first, fields, body)


OK = b"HTTP/1.1 200 OK"


def _long(status: bytes = OK) -> Callable[[Random, bytes], Draft]:
    def made(dice: Random, token: bytes) -> Draft:
        body = token + b"x" * dice.choice((0, 10, 1000, 100_000))
        return Draft(status, [b"X-Read: " + token, b"Content-Length: %d" % len(body)], body)

    return made


def _chunked(trailers: bytes = b"") -> Callable[[Random, bytes], Draft]:
    def made(dice: Random, token: bytes) -> Draft:
        body = chunks(dice, token + b"y" * dice.choice((0, 10, 1000)), trailers)
        return Draft(OK, [b"X-Read: " + token, CHUNKED], body)

    return made


def _to_the_end(first: bytes = OK, *fields: bytes) -> Callable[[Random, bytes], Draft]:
    return lambda dice, token: Draft(first, [b"X-Read: " + token, *fields], token)


def _bodiless(status: bytes, *fields: bytes) -> Callable[[Random, bytes], Draft]:
    return lambda dice, token: Draft(b"HTTP/1.1 " + status, [b"X-Read: " + token, *fields])


SEEDS = (
    _long(),
    _long(b"HTTP/1.1 404 Not Found"),
    _long(b"HTTP/1.1 500 Internal Server Error"),
    _long(b"HTTP/1.1 200"),
    _long(b"HTTP/1.0 200 OK"),
    _chunked(),
    _chunked(),
    _chunked(b"X-Sum: 7\r\n"),
    _chunked((b"X-Sum: " + b"7" * 1000 + b"\r\n") * 300),
    _to_the_end(),
    _to_the_end(OK, b"Connection: close"),
    _to_the_end(b"HTTP/1.0 200 OK"),
    _bodiless(b"204 No Content"),
    _bodiless(b"304 Not Modified", b"Content-Length: 1234", b'ETag: "e"'),
    _bodiless(b"200 OK", b"Content-Length: 0"),
)

LINES = (
    b"Content-Length: 0", b"Content-Length: 5", b"Content-Length: 100000", b"Content-Length:", b"Content-Length: +5",
    b"Content-Length: 5, 5", b"Content-Length: -1", b"Content-Length : 5", b"Content-Length: 18446744073709551621",
    CHUNKED, b"Transfer-Encoding: identity", b"Transfer-Encoding: chunked, identity", b"Transfer-Encoding: gzip",
    b"Transfer-Encoding: xchunked", b"Transfer-Encoding: \x0bchunked", b"Transfer-Encoding:\r\n chunked",
    b"Transfer-Encoding: gzip, chunked", b"Transfer-Encoding: chunked,", b"Transfer-Encoding : chunked",
    b"Connection: close", b"Connection: keep-alive", b"Connection: content-length", b"Connection: x-read",
    b"Connection: Upgrade", b"Upgrade: echo", b"Keep-Alive: timeout=1", b"Trailer: X-Sum", b"Proxy-Connection: close",
    b"X-A: \x01", b"X-A: \x7f", b"X-A: \x00", b"X-A: \xff\xfe", b"X-A: 1\r\n 2", b" X-A: 1", b"X A: 1", b": 1",
    b"nonsense", b"X-A: 1\nX-Read: crossed", b"X-A: 1\rX-Read: crossed", b"X-\xc3\xa9: 1", b"X-A : 1",
    b"X-Large: " + b"v" * 20_000, b"X-Larger: " + b"v" * 300_000, b"Set-Cookie: a=1", b"Set-Cookie: b=2", b"X-Empty:",
    b"Content-Encoding: gzip", b"Location: /a", b"Content-Type: text/html", b"Date: now", b"Server: other",
    b"Link: </a>; rel=preload", b"WWW-Authenticate: Basic", b"Retry-After: 1",
)  # fmt: skip
STATUSES = (
    b"100 Continue", b"102 Processing", b"103 Early Hints", b"199 X", b"200", b"200 ", b"200 \xc3\xa9", b"201 Created",
    b"204 No Content", b"205 Reset Content", b"206 Partial Content", b"301 Moved", b"304 Not Modified", b"401 No",
    b"403 No", b"404 No", b"409 No", b"418 No", b"429 No", b"500 No", b"503 No", b"599 No", b"2000 OK", b"20 OK",
    b"-1 OK", b"000 Odd", b"099 Odd", b"600 Odd", b"999 Odd", b"101 Switching Protocols",
    b"abc OK", b"", b"200\tOK", b"200 O\x00K", b"200 O\rK", b" 200 OK", b"0x200 OK",
)  # fmt: skip
VERSIONS = (
    b"HTTP/1.0",
    b"HTTP/1.2",
    b"HTTP/2.0",
    b"HTTP/0.9",
    b"HTTP/1",
    b"http/1.1",
    b"ICY",
    b"",
    b"HTTP/1.1 HTTP/1.1",
)
INTERIM = (
    b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 102 Processing\r\n\r\n",
    b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n",
    b"HTTP/1.1 103 Early Hints\r\nX-Read: crossed\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\nContent-Length: 5\r\n\r\nhello", b"HTTP/1.1 100 Continue\r\n" + CHUNKED + b"\r\n\r\n",
    b"HTTP/1.1 103 Early Hints\r\nX-A: 1\x00\r\n\r\n", b"HTTP/1.1 100\r\n\r\n", b"HTTP/1.1 199 Odd\r\n\r\n",
)  # fmt: skip
AFTER = (
    b"x", b"\r\n", b"\r\n\r\n", b"0\r\n\r\n", b"x" * 100_000, b"HTTP/1.1 ", b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n" + CROSSED + b"\r\nContent-Length: 7\r\n\r\ncrossed",
    b"HTTP/1.1 200 OK\r\n" + CROSSED + b"\r\n" + CHUNKED + b"\r\n\r\n7\r\ncrossed\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n" + CROSSED + b"\r\n\r\ncrossed",
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n",
)  # fmt: skip


def _status(draft: Draft, dice: Random) -> None:
    version, _, status = draft.first.partition(b" ")
    if dice.random() < 0.3:
        version = dice.choice(VERSIONS)
    else:
        status = dice.choice(STATUSES)
    draft.first = version + b" " + status


def _insert(draft: Draft, dice: Random) -> None:
    draft.fields.insert(dice.randrange(len(draft.fields) + 1), dice.choice(LINES))


def _repeat(draft: Draft, dice: Random) -> None:
    draft.fields.append(dice.choice(draft.fields))


def _drop(draft: Draft, dice: Random) -> None:
    draft.fields.pop(dice.randrange(len(draft.fields)))


def _length(draft: Draft, dice: Random) -> None:
    """A length that is too long or too short."""
    for at, line in enumerate(draft.fields):
        name, _, value = line.partition(b": ")
        if name == b"Content-Length" and value.isdigit():
            draft.fields[at] = b"Content-Length: %d" % max(0, int(value) + dice.choice((-9, -1, 1, 9, 50_000)))


def _chunk(draft: Draft, dice: Random) -> None:
    lines, what = draft.body.split(b"\r\n"), dice.randrange(4)
    if CHUNKED not in draft.fields or len(lines) < 3:
        return _length(draft, dice)
    at = dice.randrange(len(lines))
    if what == 0:
        lines[at] = dice.choice(SIZES)
    elif what == 1:
        lines[at] += dice.choice((b";a=b", b" ", b"x", b"\0", b"\r", b"\n"))
    elif what == 2:
        lines.insert(at, dice.choice((b"", b"0", b"5", b"X-A: 1", b"nonsense", b"Content-Length: 5")))
    else:
        lines.pop(at)
    draft.body = b"\r\n".join(lines)
    return None


def _line_ends(draft: Draft, dice: Random) -> None:
    draft.end = dice.choice((b"\n", b"\r", b"\r\r\n"))


def _interim(draft: Draft, dice: Random) -> None:
    draft.before += dice.choice(INTERIM) * dice.choice((1, 1, 2, 200))


def _more(draft: Draft, dice: Random) -> None:
    draft.after += dice.choice(AFTER)


def _cut(draft: Draft, dice: Random) -> None:
    draft.cut = dice.randrange(len(bytes(draft)) + 1)


def _byte(draft: Draft, dice: Random) -> None:
    at = dice.randrange(-2 if draft.body else -1, len(draft.fields))
    if at == -2:
        draft.body = spoilt(draft.body, dice)
    elif at == -1:
        draft.first = spoilt(draft.first, dice)
    else:
        draft.fields[at] = spoilt(draft.fields[at], dice)


CHANGES = (
    _status, _status, _insert, _insert, _insert, _repeat, _drop, _length, _length, _chunk, _chunk, _line_ends,
    _interim, _interim, _more, _more, _more, _cut, _cut, _cut, _byte, _byte,
)  # fmt: skip


def mutated(draft: Draft, dice: Random) -> bytes:
    """A draft after a few changes, or none."""
    for _ in range(dice.choice((0, 1, 1, 1, 1, 2, 2, 3))):
        change = dice.choice(CHANGES)
        if draft.fields or change not in (_repeat, _drop):
            change(draft, dice)
    return bytes(draft)
