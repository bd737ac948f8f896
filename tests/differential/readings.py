"""How two parsers that share no code read the same bytes: httptools (llhttp, in C) and h11 (in Python)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import h11
import httptools


@dataclass(frozen=True)
class Reading:
    """One request as a parser reads it. Names are in small letters; `complete`: its end was there."""

    method: bytes
    target: bytes
    fields: tuple[tuple[bytes, bytes], ...]
    body: bytes
    complete: bool


def by_httptools(raw: bytes) -> list[Reading] | str:
    """The requests, or why they are none."""
    collected = _Collected()
    while raw:
        collected.parser = parser = httptools.HttpRequestParser(collected)
        try:
            parser.feed_data(raw)
            break
        except httptools.HttpParserUpgrade as asked:  # which the origin refuses: what comes behind are requests
            raw = raw[asked.args[0] :]
        except httptools.HttpParserError as error:
            return f"httptools: {error}"
    if collected.begun:
        collected.keep(complete=False)
    return collected.readings


def _field(name: bytes, value: bytes) -> tuple[bytes, bytes]:
    """A field as both write it: h11 makes codings small and strips spaces."""
    value = value.strip(b" \t")
    return name.lower(), value.lower() if name.lower() == b"transfer-encoding" else value


class _Collected:
    def __init__(self) -> None:
        self.readings: list[Reading] = []
        self.parser: Any = None
        self.on_message_begin()
        self.begun = False

    def on_message_begin(self) -> None:
        self.target, self.body, self.begun = b"", b"", True
        self.fields: list[tuple[bytes, bytes]] = []
        self.headed = False

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.headed:
            self.fields.append(_field(name, value))

    def on_headers_complete(self) -> None:
        self.headed = True

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        if self.begun:
            self.keep(complete=True)

    def keep(self, *, complete: bool) -> None:
        method = self.parser.get_method() if self.headed else b""
        target, fields = (self.target, self.fields) if self.headed else (b"", [])
        self.readings.append(Reading(method, target, tuple(fields), self.body, complete))
        self.begun = False


def by_h11(raw: bytes) -> list[Reading] | str:
    """The requests, or why they are none."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 22)
    connection.receive_data(raw)
    readings: list[Reading] = []
    try:
        while reading := _next(connection):
            readings.append(reading)
            if not reading.complete or _last(connection):
                break
            connection.start_next_cycle()
    except h11.RemoteProtocolError as error:
        return f"h11: {error}"
    return readings


def _last(connection: h11.Connection) -> bool:
    """Answer, which h11 wants before it reads on; whether the connection ends with this."""
    connection.send(h11.Response(status_code=404, headers=[("content-length", "0")]))
    connection.send(h11.EndOfMessage())
    return connection.our_state is not h11.DONE


def _next(connection: h11.Connection) -> Reading | None:
    if not connection.trailing_data[0]:
        return None
    request, body = connection.next_event(), b""
    if not isinstance(request, h11.Request):
        return Reading(b"", b"", (), b"", False)
    while isinstance(event := connection.next_event(), h11.Data):
        body += event.data
    complete = isinstance(event, h11.EndOfMessage)
    fields = tuple(_field(name, value) for name, value in request.headers)
    return Reading(request.method, request.target, fields, body, complete)
