"""Requests to begin with, and what is done to them: to their lines, to their framing, to single bytes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

HOST = b"Host: here.example"
JSON = b"Content-Type: application/json"
CHUNKED = b"Transfer-Encoding: chunked"
INSIDE = b"GET /fuzz/inside HTTP/1.1\r\nHost: here.example\r\n\r\n"
"""A request that a body may hold: whoever takes the body's end elsewhere sees one request too many."""


@dataclass
class Draft:
    """A request in parts that are joined as they are; `ends`: what ends each line of its head."""

    first: bytes
    fields: list[bytes]
    body: bytes = b""
    ends: list[bytes] | None = None
    before: bytes = b""

    def __bytes__(self) -> bytes:
        lines = [self.first, *self.fields, b""]
        ends = self.ends or [b"\r\n"] * len(lines)
        ends += [b"\r\n"] * (len(lines) - len(ends))
        return self.before + b"".join(line + end for line, end in zip(lines, ends, strict=False)) + self.body

    def end_line(self, at: int, end: bytes) -> None:
        """End a line of the head otherwise than with CRLF."""
        self.ends = [b"\r\n"] * (len(self.fields) + 2)
        self.ends[at] = end


def chunks(dice: Random, body: bytes, trailers: bytes = b"") -> bytes:
    """A body in chunks of any size."""
    parts, at = [], 0
    while at < len(body):
        part = body[at : at + dice.randrange(1, 40)]
        at += len(part)
        size = dice.choice((b"%x", b"%X", b"0%x", b"%x;a=b")) % len(part)
        parts.append(size + b"\r\n" + part + b"\r\n")
    return b"".join(parts) + b"0\r\n" + trailers + b"\r\n"


def _body(dice: Random, token: bytes) -> bytes:
    return token + dice.choice((b"", b"hello", INSIDE, b"x" * 5000, b"\r\n0\r\n\r\n", bytes(range(256))))


def _line(method: bytes, token: bytes, more: bytes = b"") -> bytes:
    return method + b" /fuzz/" + token + more + b" HTTP/1.1"


def _long(method: bytes, *fields: bytes) -> Callable[[Random, bytes], Draft]:
    def made(dice: Random, token: bytes) -> Draft:
        body = _body(dice, token)
        return Draft(_line(method, token), [HOST, *fields, b"Content-Length: %d" % len(body)], body)

    return made


def _chunked(method: bytes, *fields: bytes, trailers: bytes = b"") -> Callable[[Random, bytes], Draft]:
    def made(dice: Random, token: bytes) -> Draft:
        body = chunks(dice, _body(dice, token), trailers)
        return Draft(_line(method, token), [HOST, *fields, CHUNKED], body)

    return made


def _bare(method: bytes, *fields: bytes, more: bytes = b"") -> Callable[[Random, bytes], Draft]:
    return lambda dice, token: Draft(_line(method, token, more), [HOST, *fields])


def _resume(route: bytes) -> Callable[[Random, bytes], Draft]:
    def made(dice: Random, token: bytes) -> Draft:
        body = json.dumps({"thread_id": token.decode(), "input": f"answer {token.decode()}"}).encode()
        first, fields = b"PATCH /runs/resume" + route + b" HTTP/1.1", [HOST, JSON]
        if dice.random() < 0.3:
            return Draft(first, [*fields, CHUNKED], chunks(dice, body))
        return Draft(first, [*fields, b"Content-Length: %d" % len(body)], body)

    return made


def _old(dice: Random, token: bytes) -> Draft:
    return Draft(b"GET /fuzz/" + token + b" HTTP/1.0", [HOST, b"Connection: keep-alive"])


UPGRADE = (b"Connection: Upgrade", b"Upgrade: echo")
SEEDS: tuple[Callable[[Random, bytes], Draft], ...] = (
    _bare(b"GET"),
    _bare(b"GET", b"Accept: */*", b"X-A: 1", b"x-a: 2", b"Cookie: a=b; c=d", more=b"//a%2Fb/./c;d?a=b&c=%20d"),
    _bare(b"HEAD"),
    _bare(b"DELETE", b"Authorization: Bearer t"),
    _bare(b"REPORT-X", b"X-A: 1"),
    _bare(b"GET", b"Connection: X-Hop", b"X-Hop: 1", b"X-End: 1"),
    _bare(b"GET", *UPGRADE),
    _bare(b"GET", b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABk"),
    lambda dice, token: Draft(b"OPTIONS * HTTP/1.1", [HOST, b"X-Token: " + token]),
    _old,
    _long(b"POST", b"Content-Type: text/plain"),
    _long(b"PUT"),
    _long(b"GET"),
    _long(b"POST", *UPGRADE),
    _long(b"REPORT-X", *UPGRADE),
    _long(b"POST", b"Expect: 100-continue"),
    _chunked(b"POST"),
    _chunked(b"POST", b"Trailer: X-Sum", trailers=b"X-Sum: 7\r\n"),
    _chunked(b"PUT", *UPGRADE),
    _chunked(b"POST", b"Expect: 100-continue"),
    _resume(b""),
    _resume(b"/wait"),
    _resume(b"/stream"),
)  # fmt: skip

# What is done to a draft

LINES = (
    b"Content-Length: 0", b"Content-Length: 5", b"Content-Length: 49", b"Content-Length: 100000", b"Content-Length:",
    b"Content-Length: +5", b"Content-Length: 5, 5", b"Content-Length: 0x5", b"Content-Length: 5 5",
    b"Content-Length : 5", b"Content-Length: 18446744073709551621", b"content-length: 05", b"Content_Length: 5",
    b"Content-Length\t: 5", CHUNKED, b"Transfer-Encoding: identity", b"Transfer-Encoding: chunked, identity",
    b"Transfer-Encoding:chunked ", b"Transfer-Encoding: xchunked", b"Transfer-Encoding: \x0bchunked",
    b"Transfer-Encoding : chunked", b"Transfer-Encoding: CHUNKED", b"Transfer-Encoding:\r\n chunked",
    b"Transfer-Encoding: gzip, chunked", b"transfer-encoding: chunked,", b"Transfer_Encoding: chunked",
    b"X: 1\nTransfer-Encoding: chunked", b"X: 1\rTransfer-Encoding: chunked", b"Transfer-Encoding\x00: chunked",
    b'Transfer-Encoding: "chunked"', HOST, b"Host: other.example", b"Host:", b"Host: a b", b"Host: a/b",
    b"Host: user@a", b"Host: [::1]:80", b"Host: a,b", b"Connection: close", b"Connection: keep-alive",
    b"Connection: content-length", b"Connection: transfer-encoding", b"Connection: host",
    b"Connection: x-a, keep-alive", b"Connection: close, te", b"TE: trailers", b"TE: gzip, trailers",
    b"Connection: Upgrade", b"Upgrade: echo", b"Upgrade: h2c", b"Upgrade: websocket, echo", b"Upgrade: HTTP/2.0",
    b"Upgrade: TLS/1.0", b"Expect: 100-continue", b"Expect: 100-Continue", b"Expect: nonsense",
    b"Trailer: Content-Length", b"Keep-Alive: timeout=1", b"Proxy-Connection: keep-alive",
    b"Proxy-Authorization: Basic eDp5", b"X-A: \x01", b"X-A: \x7f", b"X-A: \x00", b"X-A: \xff\xfe", b"X-A: 1\r\n 2",
    b" X-A: 1", b"X A: 1", b": 1", b"nonsense", b"X(A): 1", b"X-\xc3\xa9: 1", b"X-A:" + b" " * 300 + b"1",
    b"X-Large: " + b"v" * 20_000, b"X-Larger: " + b"v" * 70_000, b"Accept: application/problem+json",
    b"Content-Encoding: gzip", b"Origin: https://page.example", b'Idempotency-Key: "k"', b"AP-Interrupt-Id: q",
    b"X-Forwarded-For: 1.2.3.4", b"Forwarded: for=1.2.3.4", b"Cookie: a=b", b"X-A: 1", b"x_a: 2", b"X-Empty:",
    b"Accept-Encoding: gzip, br", b"Range: bytes=0-1", b"Via: 1.1 other",
)  # fmt: skip
METHODS = (
    b"GET", b"POST", b"HEAD", b"PUT", b"PATCH", b"OPTIONS", b"CONNECT", b"TRACE", b"PRI", b"get", b"G(T", b"X", b"",
)  # fmt: skip
VERSIONS = (
    b"HTTP/1.0", b"HTTP/1.1", b"HTTP/1.2", b"HTTP/2.0", b"HTTP/0.9", b"HTTP/1.10", b"http/1.1", b"HTTP/1", b"X", b"",
)  # fmt: skip
TARGETS = (
    b"*", b"/", b"//", b"/a%2Fb", b"/a%00b", b"/a#b", b"/a b", b"/a\tb", b"/\xc3\xa9", b"/a\x00b", b"/a\x7f", b"a",
    b"", b"http://here.example/fuzz/whole", b"http://here.example", b"http://here.example?a=b",
    b"http://other.example/a", b"https://here.example/a", b"here.example:80", b"/runs/resume", b"/runs/resume/wait",
    b"/fuzz/../a", b"/?", b"/a?b?c", b'/a"<>|{}\\^`', b"/" + b"a" * 9000,
)  # fmt: skip
ENDS = (b"\n", b"\r", b"\r\r\n", b"\n\r", b"", b"\r\n\r\n", b"\r\n ", b" \r\n", b"\0\r\n", b"\x0b\r\n")
SIZES = (
    b"+5", b"-1", b"0x5", b" 5", b"5 ", b"5_0", b"", b"G", b"5;\x00", b"5;a\nb", b"5;" + b"a" * 3000, b"00005",
    b"5;a=b", b"FFFFFFFFFFFFFFFF5", b"fffffffffffffff", b'5;a="b;c"', b"5,", b"0", b"7fffffff",
    b"5\r")  # fmt: skip
TRAILERS = (
    b"X-Sum: 7", b"Content-Length: 5", CHUNKED, b"Host: other.example", b"X-A : 1", b"X-A: 1\r\n 2", b"nonsense",
    b"X-A: \x00", b"X-A: 1\nX-B: 2", b"Authorization: x")  # fmt: skip
BYTES = (
    b"\r", b"\n", b"\r\n", b"\0", b" ", b"\t", b":", b"\x0b", b"\x7f", b"\x80", b"\xff", b",", b";", b"0",
    b"\r\n\r\n", b"%",
)  # fmt: skip


def _insert(draft: Draft, dice: Random) -> None:
    draft.fields.insert(dice.randrange(len(draft.fields) + 1), dice.choice(LINES))


def _replace(draft: Draft, dice: Random) -> None:
    if draft.fields:
        draft.fields[dice.randrange(len(draft.fields))] = dice.choice(LINES)


def _repeat(draft: Draft, dice: Random) -> None:
    if draft.fields:
        draft.fields.insert(dice.randrange(len(draft.fields) + 1), dice.choice(draft.fields))


def _drop(draft: Draft, dice: Random) -> None:
    if draft.fields:
        draft.fields.pop(dice.randrange(len(draft.fields)))


def _first(draft: Draft, dice: Random) -> None:
    parts = draft.first.split(b" ")
    at = dice.randrange(len(parts))
    parts[at] = dice.choice((METHODS, TARGETS, VERSIONS)[min(at, 2)])
    draft.first = dice.choice((b" ", b" ", b" ", b" ", b"  ", b"\t")).join(parts)


def _end_line(draft: Draft, dice: Random) -> None:
    draft.end_line(dice.randrange(len(draft.fields) + 2), dice.choice(ENDS))


def _before(draft: Draft, dice: Random) -> None:
    draft.before = dice.choice((b"\r\n", b"\r\n\r\n", b"\n", b" ", b"\r", b"\0"))


def _length(draft: Draft, dice: Random) -> None:
    for at, line in enumerate(draft.fields):
        name, _, value = line.partition(b": ")
        if name == b"Content-Length" and value.isdigit():
            value = b"%d" % max(0, int(value) + dice.choice((-20, -1, 1, 2, 20, 60)))
            draft.fields[at] = name + dice.choice((b": ", b":", b": 0", b":\t", b": +")) + value


def _chunk(draft: Draft, dice: Random) -> None:
    lines = draft.body.split(b"\r\n")
    if CHUNKED not in draft.fields or len(lines) < 3:
        return _byte(draft, dice)
    at = dice.randrange(len(lines))
    what = dice.randrange(4)
    if what == 0:
        lines[at] = dice.choice(SIZES)
    elif what == 1:
        lines[at] += dice.choice((b";a=b", b" ", b"x", b"\0", b"\r", b"\n"))
    elif what == 2:
        lines.insert(at, dice.choice((b"", b"0", b"5", *TRAILERS)))
    else:
        lines.pop(at)
    draft.body = b"\r\n".join(lines)
    return None


def _trailer(draft: Draft, dice: Random) -> None:
    if draft.body.endswith(b"0\r\n\r\n"):
        draft.body = draft.body[:-2] + dice.choice(TRAILERS) + b"\r\n\r\n"


def _byte(draft: Draft, dice: Random) -> None:
    """A byte of a line, or of the body."""
    at = dice.randrange(-2 if draft.body else -1, len(draft.fields))
    changed = spoilt(draft.body if at == -2 else draft.first if at == -1 else draft.fields[at], dice)
    if at == -2:
        draft.body = changed
    elif at == -1:
        draft.first = changed
    else:
        draft.fields[at] = changed


def spoilt(data: bytes, dice: Random) -> bytes:
    """Bytes with one place changed."""
    at, what = dice.randrange(len(data) + 1), dice.randrange(6)
    long = dice.choice((1, 1, 2, 9))
    if what == 0:
        return data[:at] + dice.choice(BYTES) + data[at:]
    if what == 1:
        return data[:at] + data[at + long :]
    if what == 2:
        return data[:at] + dice.choice(BYTES) + data[at + 1 :]
    if what == 3:
        return data[: at + long] + data[at:]
    if what == 4 and at < len(data):
        return data[:at] + bytes([data[at] ^ (1 << dice.randrange(8))]) + data[at + 1 :]
    return data[:at]


CHANGES = (
    _insert, _insert, _insert, _replace, _repeat, _drop, _first, _end_line, _before, _length, _length, _chunk, _chunk,
    _trailer, _byte, _byte, _byte,
)  # fmt: skip


def mutated(draft: Draft, dice: Random) -> bytes:
    """A draft after a few changes, or none."""
    for _ in range(dice.choice((0, 0, 1, 1, 1, 1, 2, 3))):
        dice.choice(CHANGES)(draft, dice)
    data = bytes(draft)
    return spoilt(data, dice) if dice.random() < 0.1 else data
