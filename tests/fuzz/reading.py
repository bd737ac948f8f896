"""A strict reader of HTTP/1.1, written from RFC 9112 and sharing no code with a parser: what bytes say, or why nothing.

A message is `whole` where the grammar allows one reading and demands that a recipient take it. What a recipient may
refuse, and may read in no other way, is its `doubts`. What is against the grammar ends the reading.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

FieldLines = list[tuple[bytes, bytes]]

TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_TARGET = re.compile(rb"/(?:[A-Za-z0-9._~!$&'()*+,;=:@/?-]|%[0-9A-Fa-f]{2})*")
_VISIBLE = re.compile(rb"[\x21-\x7e]+")
_ABSOLUTE = re.compile(rb"https?://[^/?#]*([^#]*)", re.IGNORECASE)
_HOST = re.compile(rb"(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*(?::[0-9]*)?|\[[0-9A-Fa-f:.]+\](?::[0-9]*)?")
_LOOSE_HOST = re.compile(rb"[A-Za-z0-9._~!$&'()*+,;=%-]*(?::[0-9]*)?")
_CHUNK = re.compile(rb"([0-9A-Fa-f]+)((?:[ \t]*;[^\x00-\x08\x0a-\x1f\x7f]*)?|[ \t]+)")
_STRICT_CHUNK = re.compile(rb"[0-9A-Fa-f]{1,8}(?:;[0-9A-Za-z-]+(?:=[0-9A-Za-z-]+)?)*")
_STATUS = re.compile(rb"(HTTP/[0-9]\.[0-9]) ([0-9]{3})(?: ([^\r\n]*))?")
_CONTROL = re.compile(rb"[\x00-\x08\x0b-\x1f\x7f]")
_BODILESS = (204, 304)
KNOWN = frozenset(b"GET HEAD POST PUT PATCH DELETE OPTIONS".split())
"""Methods that everybody knows."""
LARGE = 60_000
"""Bytes of a head that everybody takes."""

End = Literal["whole", "partial", "wrong"]
"""Nothing is left over; the last message is not over yet; or what comes next is no message."""


class Wrong(Exception):
    """Against the grammar."""


class Partial(Exception):
    """The bytes end before the message does."""


@dataclass
class Message:
    """A request or an answer. `start`: method, target and version; or version, status and reason."""

    start: tuple[bytes, bytes, bytes]
    fields: FieldLines
    body: bytes = b""
    trailers: FieldLines = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)
    keeps: bool = True
    """Whether another message may follow on the connection."""

    def values(self, name: bytes) -> list[bytes]:
        """The values of a field's lines, in order."""
        return [value for known, value in self.fields if known == name]

    def options(self) -> set[bytes]:
        """What its `Connection` fields name."""
        return {each.strip(b" \t").lower() for value in self.values(b"connection") for each in value.split(b",")}


@dataclass
class Reading:
    """Messages, one after the other, and how the bytes end; `rest`: those that are in no message."""

    messages: list[Message]
    end: End = "whole"
    why: str = ""
    rest: bytes = b""


def requests(raw: bytes) -> Reading:
    """Read what a client sent."""
    return _read(raw, _Reader.request)


def answers(raw: bytes, methods: list[bytes], *, closed: bool = False) -> Reading:
    """Read what a server sent to requests of these methods, interim answers included; `closed`: and then it closed."""
    asked = iter(methods)
    method = next(asked, None)

    def one(reader: _Reader) -> Message:
        nonlocal method
        if method is None:
            raise Wrong("nobody asked for this")
        message = reader.answer(method, closed)
        if not message.start[1].startswith(b"1") or message.start[1] == b"101":
            method = next(asked, None)
        return message

    return _read(raw, one)


def _read(raw: bytes, one: Callable[[_Reader], Message]) -> Reading:
    reader, read = _Reader(raw), Reading([])
    while reader.left:
        begin = reader.left
        try:
            message = one(reader)
        except (Wrong, Partial) as why:
            # In a head that is not over, some see what is wrong at once, and some at its end.
            over = b"\r\n\r\n" in begin.lstrip(b"\r\n")
            read.end, read.why = "wrong" if over and isinstance(why, Wrong) else "partial", str(why)
            break
        read.messages.append(message)
        if not message.keeps:
            break
    read.rest = reader.left
    return read


class _Reader:
    """A place in the bytes."""

    def __init__(self, raw: bytes) -> None:
        self.left = raw
        self.doubts: list[str] = []

    def request(self) -> Message:
        """The next request."""
        first, before = self._first_line(), len(self.left)
        parts = re.split(rb" +", first)
        self._doubt(first.count(b" ") != 2, "more than a space between")
        if len(parts) != 3 or not TOKEN.fullmatch(parts[0]):
            raise Wrong(f"a request line {first!r}")
        method, target, version = parts
        if not re.fullmatch(rb"HTTP/1\.[0-9]", version):
            raise Wrong(f"a version {version!r}")
        message = Message((method, self._target(method, target), version), self._fields(), doubts=self.doubts)
        self._doubt(version[-1:] not in b"01", "a version to come")
        self._doubt(method not in KNOWN, "a method that not all know")
        self._doubt(before - len(self.left) > LARGE, "a large head")
        self._host(message)
        options = message.options()
        message.keeps = b"keep-alive" in options if version == b"HTTP/1.0" else b"close" not in options
        self._doubt(not options.isdisjoint({b"host", b"content-length", b"transfer-encoding"}), "Connection names")
        self._doubt(any(value.lower() != b"100-continue" for value in message.values(b"expect")), "an expectation")
        self._framed(message)
        return message

    def answer(self, method: bytes, closed: bool) -> Message:
        """The next answer, to a request of this method."""
        first = self._first_line()
        found = _STATUS.fullmatch(first)
        if found is None:
            raise Wrong(f"a status line {first!r}")
        status = int(found[2])
        version, reason = found[1], found[3] or b""
        message = Message((version, found[2], reason), self._fields(), doubts=self.doubts)
        self._doubt(version not in (b"HTTP/1.0", b"HTTP/1.1"), "another version")
        self._doubt(_CONTROL.search(reason), "a control character in the reason")
        self._doubt(not 100 <= status < 600, "a status of no class")
        options = message.options()
        message.keeps = b"close" not in options and (version == b"HTTP/1.1" or b"keep-alive" in options)
        framed = message.values(b"content-length") or message.values(b"transfer-encoding")
        if 100 <= status < 200:
            self._doubt(framed or status == 101, "an interim answer with a body")
        elif method == b"HEAD" or status in _BODILESS:
            self._length(message)
        elif framed:
            self._framed(message)
        else:
            message.keeps = False
            if not closed:
                raise Partial("up to the end of the connection")
            message.body, self.left = self.left, b""
        return message

    # Heads

    def _first_line(self) -> bytes:
        bare = self.left.lstrip(b"\r\n")
        self.doubts = ["line ends before it"] if bare != self.left else []
        self.left = bare
        return self._line()

    def _line(self) -> bytes:
        line, found, rest = self.left.partition(b"\r\n")
        if b"\n" in line or b"\r" in line[:-1] or (found and line.endswith(b"\r")):
            raise Wrong("a line's end inside of a line")
        if not found:
            raise Partial("inside of a line")
        self.left = rest
        return line

    def _fields(self) -> FieldLines:
        fields: FieldLines = []
        while line := self._line():
            name, colon, value = line.partition(b":")
            if not colon or not TOKEN.fullmatch(name):
                raise Wrong(f"a field {line[:80]!r}")
            if b"\0" in value:
                raise Wrong("NUL in a value")
            value = value.strip(b" \t")
            self._doubt(_CONTROL.search(value), "a control character in a value")
            fields.append((name.lower(), value))
        return fields

    def _target(self, method: bytes, target: bytes) -> bytes:
        if method == b"CONNECT":
            raise Wrong("CONNECT")
        if target == b"*" and method == b"OPTIONS":
            return target
        if (absolute := _ABSOLUTE.fullmatch(target)) is not None and _VISIBLE.fullmatch(target):
            self.doubts.append("a whole URL")
            return absolute[1] if absolute[1].startswith(b"/") else b"/" + absolute[1]
        if not target.startswith(b"/") or re.search(rb"[\x00-\x20\x7f]", target):
            raise Wrong(f"a target {target!r}")
        self._doubt(not _TARGET.fullmatch(target), "a target of odd characters")
        return target

    def _host(self, message: Message) -> None:
        hosts = message.values(b"host")
        if len(hosts) > 1 or (not hosts and message.start[2] != b"HTTP/1.0"):
            raise Wrong(f"{len(hosts)} hosts")
        for host in hosts:
            if not _HOST.fullmatch(host) and not _LOOSE_HOST.fullmatch(host):
                raise Wrong(f"a host {host!r}")
            self._doubt(not host or b"," in host or not _HOST.fullmatch(host), "an odd host")

    # Bodies

    def _length(self, message: Message) -> int | None:
        lengths, codings = message.values(b"content-length"), message.values(b"transfer-encoding")
        if message.start[0].startswith(b"HTTP/") and len(codings) > 1 and len(set(codings)) == 1:
            self.doubts.append("a transfer coding twice")  # which goes on once, whoever reads it
            del codings[1:]
        if len(lengths) > 1 or len(codings) > 1 or (lengths and codings):
            raise Wrong(f"framed by {lengths} and {codings}")
        if codings:
            coding = codings[0].lower()
            if coding.strip(b", \t") != b"chunked" or message.start[2] == b"HTTP/1.0":
                raise Wrong(f"a transfer coding {coding!r} in {message.start[2]!r}")
            if message.start[0] == b"HTTP/1.0":
                self.doubts.append("chunks in an answer of HTTP/1.0")
                message.keeps = False
            self._doubt(coding != b"chunked", "a list with an empty coding")
            return None
        if lengths and not re.fullmatch(rb"[0-9]+", lengths[0]):
            raise Wrong(f"a length {lengths[0]!r}")
        length = int(lengths[0]) if lengths else 0
        if length >= 1 << 63:
            raise Wrong("a length that nothing has")
        self._doubt(lengths and lengths[0] != b"%d" % length, "a length with zeros before")
        return length

    def _framed(self, message: Message) -> None:
        length = self._length(message)
        if length is None:
            self._chunks(message)
        else:
            message.body = self._take(length)

    def _take(self, size: int) -> bytes:
        if len(self.left) < size:
            raise Partial("inside of a body")
        taken, self.left = self.left[:size], self.left[size:]
        return taken

    def _chunks(self, message: Message) -> None:
        parts = []
        while True:
            line = self._line()
            found = _CHUNK.fullmatch(line)
            if found is None:
                raise Wrong(f"a chunk's size {line[:80]!r}")
            self._doubt(not _STRICT_CHUNK.fullmatch(line), "an odd chunk size or extension")
            size = int(found[1], 16)
            if size >= 1 << 60:
                raise Wrong("a chunk larger than anything")
            if not size:
                break
            parts.append(self._take(size))
            end = self._take(min(2, len(self.left)))
            if not b"\r\n".startswith(end):
                raise Wrong("a chunk without its end")
            if len(end) < 2:
                raise Partial("at the end of a chunk")
        message.body = b"".join(parts)
        message.trailers = self._fields()
        self._doubt(message.trailers, "trailers")

    def _doubt(self, found: object, doubt: str) -> None:
        if found:
            self.doubts.append(doubt)
