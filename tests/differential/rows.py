"""What is compared: one row for each thing that a proxy may do to traffic, and how well it does it.

A measurement sends bytes through one proxy, looks at what reached the origin and the client, and gives a `Cell`: a
score, more is better, and words for the table. The sidecar has to score at least as well as the best of the others.
"""

from __future__ import annotations

import socket
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

from tests.differential.client import PATIENCE, Answer, Client, Ended
from tests.differential.origin import BIG, EVENTS, ZIPPED, Door, FieldLines, Request
from tests.differential.proxies import SIDECAR, Proxy

LATE = 0.15
"""Seconds that an event may take on its way; batching costs 0.2 or more, the rest is a busy machine."""
NOTICED = 2.0
"""Seconds after which a client's leaving counts as not noticed. At once is a few milliseconds."""
FLAT = 16 << 20
"""Bytes that a process may grow by while it carries a body of 64 MiB."""
HELD = 50 << 20
"""Bytes of 64 MiB that may be under way while nobody reads them: the kernel alone gives a socket 32, where it may."""


@dataclass(frozen=True)
class Cell:
    """How well a proxy did, in a word; `figure` is what was measured by the clock and is in no document."""

    score: int
    word: str
    figure: str = ""

    def __str__(self) -> str:
        return f"{self.word} ({self.figure})" if self.figure else self.word


@dataclass(frozen=True)
class Row:
    """One thing that is compared. `reason`: why the sidecar may do worse than the best here, where it may."""

    name: str
    says: str
    measure: Callable[[Stage], Cell]
    reason: str = ""


@dataclass(frozen=True)
class Stage:
    """One proxy and its door of the origin, cleared."""

    proxy: Proxy
    clients: list[Client] = field(default_factory=list)

    @property
    def door(self) -> Door:
        return self.proxy.door

    def client(self, **options: int) -> Client:
        """A connection to the proxy; closed with the measurement."""
        made = Client(self.proxy.port, **options)
        self.clients.append(made)
        return made

    def ask(self, path: str = "/", method: str = "GET", *lines: str, body: bytes = b"") -> Answer:
        """Ask on a connection of its own."""
        client = self.client()
        client.send(asking(path, method, *lines) + body)
        return client.answer(method)

    def request(self, patience: float = PATIENCE) -> Request:
        """The latest request that reached the origin. Raises `LookupError` when none does."""
        if not eventually(lambda: self.door.requests, patience):
            raise LookupError("nothing reached the origin")
        return self.door.requests[-1]


def asking(path: str = "/", method: str = "GET", *lines: str) -> bytes:
    """A request's head."""
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: here.example", *lines, "", ""]).encode("latin-1")


MANY, PIPELINED, WAITING = 20, asking() * 6000, 200_000
"""Connections, what is sent on each behind its first request, and bytes of memory that it may take."""


def eventually(happened: Callable[[], object], patience: float) -> bool:
    """Whether it happens in time."""
    deadline = time.monotonic() + patience
    while not happened():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.002)
    return True


def measure(row: Row, proxies: list[Proxy]) -> dict[str, Cell]:
    """What each proxy does, measured side by side."""
    with ThreadPoolExecutor(len(proxies)) as pool:
        return dict(zip([proxy.name for proxy in proxies], pool.map(partial(_measured, row), proxies), strict=True))


def _measured(row: Row, proxy: Proxy) -> Cell:
    proxy.door.forget()
    stage = Stage(proxy)
    try:
        return row.measure(stage)
    except (LookupError, OSError, Ended, ValueError) as error:
        return Cell(0, "fails", str(error) or type(error).__name__)
    finally:
        for client in stage.clients:
            client.plug.close()


ROWS: list[Row] = []


def row(name: str, says: str, reason: str = "") -> Callable[[Callable[[Stage], Cell]], Callable[[Stage], Cell]]:
    """Make a row of a measurement."""

    def add(measured: Callable[[Stage], Cell]) -> Callable[[Stage], Cell]:
        ROWS.append(Row(name, says, measured, reason))
        return measured

    return add


def yes(good: object, word: str = "no") -> Cell:
    """Good, or `word`."""
    return Cell(1, "yes") if good else Cell(0, word)


# Streams


@row("events on time", "Five server-sent events; the origin sends each one only after the previous one has arrived.")
def _(stage: Stage) -> Cell:
    client = stage.client()
    client.send(asking("/events"))
    delays = []
    for event in EVENTS:
        stage.door.release()
        began = time.monotonic()
        client.until(event)
        delays.append(time.monotonic() - began)
    late = statistics.median(delays)
    return Cell(int(late < LATE), "yes" if late < LATE else "held back", f"{late * 1000:.1f} ms")


@row("request body on time", "The first part of an upload reaches the origin before the client sends the second.")
def _(stage: Stage) -> Cell:
    client = stage.client()
    client.send(asking("/duplex", "POST", "Transfer-Encoding: chunked") + b"5\r\nfirst\r\n")
    return yes(eventually(lambda: b"first" in stage.request().connection.raw, 1.0), "held back")


@row("both bodies at once", "The first part of the response arrives while the client still sends the request body.")
def _(stage: Stage) -> Cell:
    client = stage.client()
    client.send(asking("/duplex", "POST", "Transfer-Encoding: chunked") + b"5\r\nfirst\r\n")
    client.until(b"first")
    client.send(b"6\r\nsecond\r\n0\r\n\r\n")
    client.until(b"second")
    client.until(b"0\r\n\r\n")
    return yes(True)


def _leaving(path: str, rudely: bool, after: bytes, stage: Stage) -> Cell:
    client = stage.client()
    client.send(asking(path))
    client.until(after) if after else stage.request()
    return _left(client, rudely, stage)


def _left(client: Client, rudely: bool, stage: Stage) -> Cell:
    left = time.monotonic()
    client.leave(rudely=rudely)
    connection = stage.request().connection
    if not eventually(lambda: connection.left, NOTICED):
        return Cell(0, "never")
    return Cell(1, "notified", f"{((connection.left or left) - left) * 1000:.0f} ms")


for _name, _path, _after in (
    ("a running stream", "/stream", b"data: on"),
    ("an idle stream", "/idle", b"data: first"),
    ("a wait", "/silent", b""),
):
    for _how, _rudely in (("leaves", False), ("is cut off", True)):
        ROWS.append(
            Row(
                f"client {_how} in {_name}",
                "The origin's connection is closed within two seconds, so that it can stop working.",
                partial(_leaving, _path, _rudely, _after),
            )
        )


@row(
    "client leaves before a 100",
    "The client waits for a 100; the origin starts a stream without sending one. Its connection is closed as above.",
)
def _(stage: Stage) -> Cell:
    client = stage.client()
    client.send(asking("/unasked", "POST", "Expect: 100-continue", "Content-Length: 5"))
    client.until(b"data: first")
    return _left(client, False, stage)


@row("client leaves in an upload", "The origin's connection is closed, and the partial body does not look complete.")
def _(stage: Stage) -> Cell:
    client = stage.client()
    client.send(asking("/upload", "POST", "Transfer-Encoding: chunked") + b"5\r\nfirst\r\n")
    request = stage.request()
    client.leave()
    if not eventually(lambda: request.connection.left, NOTICED):
        return Cell(1, "never")
    return Cell(2, "notified") if request.body is None else Cell(0, "looks complete")


# Fields of the request


def _fields(stage: Stage, *lines: str) -> FieldLines:
    stage.ask("/", "GET", *lines)
    return [(name.lower(), value) for name, value in stage.request().lines]


@row("strips fields that `Connection` names", "`Connection: X-Hop` makes `X-Hop` a field of this connection only.")
def _(stage: Stage) -> Cell:
    names = dict(_fields(stage, "Connection: keep-alive, X-Hop", "X-Hop: 1", "X-End: 1"))
    return yes(b"x-hop" not in names and b"x-end" in names)


@row("strips `Proxy-Authorization`", "These credentials are for a proxy, not for the origin.")
def _(stage: Stage) -> Cell:
    return yes(b"proxy-authorization" not in dict(_fields(stage, "Proxy-Authorization: Basic eDp5")))


@row(
    "strips `Keep-Alive`, `TE`, `Proxy-Connection`",
    "Fields of one connection, whether or not `Connection` names them.",
)
def _(stage: Stage) -> Cell:
    names = dict(_fields(stage, "Keep-Alive: timeout=5", "TE: gzip", "Proxy-Connection: keep-alive"))
    kept = [name.decode() for name in (b"keep-alive", b"te", b"proxy-connection") if name in names]
    return Cell(3 - len(kept), f"keeps {', '.join(f'`{name}`' for name in kept)}" if kept else "yes")


@row("strips `HTTP2-Settings`", "A request for HTTP/2 (`Upgrade: h2c`) is not forwarded, nor are its settings.")
def _(stage: Stage) -> Cell:
    names = dict(_fields(stage, "Connection: Upgrade", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk"))
    kept = [f"`{name}`" for name in ("upgrade", "http2-settings") if name.encode() in names]
    return yes(not kept, f"keeps {', '.join(kept)}")


@row("repeated fields, in order", "Fields with the same name stay separate lines, in their original order.")
def _(stage: Stage) -> Cell:
    sent = [(b"x-a", b"1"), (b"x-b", b"2"), (b"x-a", b"3"), (b"x-a", b"1"), (b"cookie", b"c=1"), (b"cookie", b"d=2")]
    came = _fields(stage, *(f"{name.decode()}: {value.decode()}" for name, value in sent))
    kept = [line for line in came if line in sent]
    grouped = all(
        [line for line in kept if line[0] == name] == [line for line in sent if line[0] == name] for name, _ in sent
    )
    return Cell(2, "yes") if kept == sent else Cell(1, "each name's") if grouped else Cell(0, "lost")


@row("values unchanged", "An empty value, inner spaces, UTF-8 and Latin-1 bytes, an underscore in a name.")
def _(stage: Stage) -> Cell:
    sent = {"x-empty": "", "x-spaces": "a  b\tc", "x-utf-8": "\xc3\xa9", "x-latin": "\xe9", "x_under_score": "1"}
    came = dict(_fields(stage, *(f"{name}: {value}" for name, value in sent.items())))
    lost = [name for name, value in sent.items() if came.get(name.encode()) != value.encode("latin-1")]
    return Cell(len(sent) - len(lost), f"not {', '.join(f'`{name}`' for name in lost)}" if lost else "yes")


@row("passes `Host`", "The origin receives the host name that the client used.")
def _(stage: Stage) -> Cell:
    return yes((b"host", b"here.example") in _fields(stage))


@row(
    "a URL as the target",
    "`GET http://there/x HTTP/1.0` has no `Host`: the origin receives the URL's host name.",
)
def _(stage: Stage) -> Cell:
    stage.client().send(b"GET http://there.example/x HTTP/1.0\r\n\r\n")
    request = stage.request()
    named = request.target.startswith(b"http://there.example/") or request.values(b"host") == [b"there.example"]
    return yes(named, "another" if request.values(b"host") else "no name")


@row(
    "adds no `X-Forwarded-*`, `Forwarded`, `Via`",
    "The client's address is sent to the origin only if that is configured.",
)
def _(stage: Stage) -> Cell:
    added = [name for name, _ in _fields(stage) if name.startswith((b"x-forwarded", b"forwarded", b"via"))]
    return yes(not added, ", ".join(f"`{name.decode()}`" for name in added))


@row(
    "adds no field at all",
    "A request with only `Host` arrives with only `Host`: no `Accept-Encoding`, no `User-Agent`.",
)
def _(stage: Stage) -> Cell:
    added = [name for name, _ in _fields(stage) if name != b"host"]
    return yes(not added, ", ".join(f"`{name.decode()}`" for name in added))


@row(
    "names in the client's spelling",
    "`X-MiXed` arrives as `X-MiXed`, both ways. Names are case-insensitive; HTTP/2 and ASGI use lower case.",
    "field names are case-insensitive, and ASGI uses lower case",
)
def _(stage: Stage) -> Cell:
    answered = stage.ask("/case", "GET", "X-AsSent: 1")
    kept = [any(name == b"X-AsSent" for name, _ in stage.request().lines)]
    kept.append(any(name == b"X-MiXed" for name, _ in answered.lines))
    return Cell(sum(kept), {0: "no", 1: "one way", 2: "yes"}[sum(kept)])


# The target, byte for byte

TARGETS = {
    "`%2F`": "/a%2Fb%2fc",
    "`;`": "/a;b=1/c;d",
    "`//`": "//a///b//",
    "`/./`": "/a/./b/.",
    "`/../`": "/a/../b/..",
    "empty query `?`": "/a?",
    "`??` and `&&`": "/a??b=1&&c",
    "`%20` and `+`": "/a%20b+c?d=%20+e",
    "escapes that need none": "/%61%7E?%62=%63",
    "wrong escapes": "/a%zz%1?b=%",
    "`%00`, `%0D%0A`": "/a%00%0D%0Ab",
    "odd characters": '/a"<>|{}\\^`b',
    "eight kilobytes": "/" + "a" * 8000,
}


def _target(target: str, stage: Stage) -> Cell:
    answered = stage.ask(target)
    if not eventually(lambda: stage.door.requests, 0.05):
        return Cell(0, str(answered.status))
    return yes(stage.request().target == target.encode("latin-1"), "changed")


for _name, _sent in TARGETS.items():
    ROWS.append(Row(f"target: {_name}", "The target reaches the origin unchanged.", partial(_target, _sent)))
ROWS.append(
    Row(
        "target: bytes beyond ASCII",
        "RFC 9112 does not allow them in a target, and servers interpret them differently: refused.",
        partial(_target, "/\xc3\xa9?\xc3\xa9"),
        "neither of the two reference parsers accepts such a target",
    )
)

# Methods


def _methods(methods: list[str], stage: Stage) -> Cell:
    refused = []
    for method in methods:
        stage.door.forget()
        answered = stage.ask("/", method, "Content-Length: 0")
        if answered.status != 200 or stage.door.requests[-1].method != method.encode():
            refused.append(f"`{method}` {answered.status}")
    return Cell(len(methods) - len(refused), ", ".join(refused) or "yes")


for _name, _list in {
    "GET and other common ones": ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"],
    "WebDAV and other registered ones": ["PROPFIND", "REPORT", "MKCOL", "M-SEARCH", "PURGE", "LINK", "ACL", "BIND"],
    "`QUERY`": ["QUERY"],
    "registered, rarely supported": ["BASELINE-CONTROL", "ORDERPATCH", "UPDATEREDIRECTREF", "VERSION-CONTROL"],
    "an invented one": ["BREW"],
    "lower case": ["brew", "get"],
}.items():
    ROWS.append(Row(f"method: {_name}", "Every method is forwarded.", partial(_methods, _list)))

# Answers


@row("two `Set-Cookie`", "Fields with the same name stay separate lines.")
def _(stage: Stage) -> Cell:
    return yes(stage.ask("/cookies").values(b"set-cookie") == [b"a=1; Path=/", b"b=2; Path=/"], "one")


@row("no cookies of its own", "A cookie of one client's response is not sent with the next client's request.")
def _(stage: Stage) -> Cell:
    stage.ask("/cookies")
    stage.ask("/cookies")
    return yes(not stage.request().values(b"cookie"))


@row("follows no redirect", "302 and its `Location` reach the client.")
def _(stage: Stage) -> Cell:
    came = stage.ask("/redirect")
    return yes(came.status == 302 and came.values(b"location") == [b"/cookies"] and len(stage.door.requests) == 1)


@row(
    "a response's framing is kept",
    "A response of known length arrives with its `Content-Length`, a chunked one in chunks.",
)
def _(stage: Stage) -> Cell:
    known, chunked = stage.ask("/"), stage.ask("/chunked")
    lengths = [came.values(b"content-length") for came in (known, chunked)]
    return yes(lengths == [[b"2"], []] and chunked.values(b"transfer-encoding") == [b"chunked"])


@row("the response's fields, in order", "Repeated fields, empty ones, and ones with bytes beyond ASCII.")
def _(stage: Stage) -> Cell:
    sent = [(b"x-one", b"1"), (b"x-two", b"a"), (b"x-empty", b""), (b"x-two", b"b"), (b"x-odd", b"\xc3\xa9 \xff")]
    came = [(name.lower(), value) for name, value in stage.ask("/fields").lines]
    kept = [line for line in came if line in sent]
    return Cell(2, "yes") if kept == sent else Cell(1, "reordered") if sorted(kept) == sorted(sent) else Cell(0, "lost")


@row("strips hop-by-hop fields of responses", "`Keep-Alive`, and the fields that the origin's `Connection` names.")
def _(stage: Stage) -> Cell:
    came = stage.ask("/hop")
    kept = [name.decode() for name in (b"keep-alive", b"x-hop") if came.values(name)]
    good = came.values(b"x-end")
    return Cell(2 - len(kept) if good else 0, f"keeps {', '.join(f'`{name}`' for name in kept)}" if kept else "yes")


@row("adds nothing to responses", "No `Server`, `Date` or `Via` that the origin did not send; `Connection` is allowed.")
def _(stage: Stage) -> Cell:
    added = [
        name.decode() for name, _ in stage.ask("/").lines if name.lower() not in (b"content-length", b"connection")
    ]
    return yes(not added, ", ".join(f"`{name}`" for name in added))


@row("the reason phrase", "`200 Fine By Me` arrives unchanged. Clients should ignore it; HTTP/2 and ASGI have none.",
     "clients ignore the reason phrase, and ASGI has none")  # fmt: skip
def _(stage: Stage) -> Cell:
    return yes(stage.ask("/case").reason == b"Fine By Me")


@row("an unknown status", "299 arrives as 299.")
def _(stage: Stage) -> Cell:
    return yes(stage.ask("/odd-status").status == 299)


def _reused(stage: Stage, path: str, method: str = "GET") -> tuple[Answer, bool]:
    """An answer, and whether the connection still works after it."""
    client = stage.client()
    client.send(asking(path, method))
    first = client.answer(method)
    client.send(asking("/"))
    return first, client.answer().body == b"ok"


@row("HEAD", "The length of a GET's response, no body, and the connection stays usable.")
def _(stage: Stage) -> Cell:
    came, on = _reused(stage, "/head", "HEAD")
    return yes(on and came.values(b"content-length") == [b"1234"] and came.values(b"x-end"), "length lost")


@row("204", "No body and no length, and the connection stays usable.")
def _(stage: Stage) -> Cell:
    came, on = _reused(stage, "/204")
    return yes(on and came.status == 204 and not came.values(b"content-length") + came.values(b"transfer-encoding"))


@row("304", "Its `ETag` and its length, no body, and the connection stays usable.")
def _(stage: Stage) -> Cell:
    came, on = _reused(stage, "/304")
    good = on and came.status == 304 and came.values(b"etag") == [b'"e"']
    return Cell(2, "yes") if good and came.values(b"content-length") == [b"1234"] else Cell(int(good), "length lost")


@row("gzip unchanged", "Compressed bytes, `Content-Encoding` and `Accept-Encoding` arrive unchanged.")
def _(stage: Stage) -> Cell:
    came = stage.ask("/gzip", "GET", "Accept-Encoding: gzip;q=0.5, br")
    good = came.body == ZIPPED and came.values(b"content-encoding") == [b"gzip"]
    return yes(good and stage.request().values(b"accept-encoding") == [b"gzip;q=0.5, br"])


@row(
    "gzip without `Accept-Encoding`",
    "The origin compresses although the request does not allow it; the proxy does not decompress.",
)
def _(stage: Stage) -> Cell:
    came = stage.ask("/gzip")
    return yes(came.body == ZIPPED and came.values(b"content-encoding") == [b"gzip"], "decompressed")


@row("103 Early Hints", "An interim response arrives before the final one.")
def _(stage: Stage) -> Cell:
    came = stage.ask("/hints")
    return yes(came.interim == (103,) and came.status == 200, "dropped" if came.status == 200 else str(came.status))


@row("trailers of responses", "`X-Sum`, sent after the last chunk, arrives after the last chunk.")
def _(stage: Stage) -> Cell:
    came = stage.ask("/trailers", "GET", "TE: trailers", "Connection: TE")
    return yes(came.body == b"summed" and came.trailers.lower() == b"x-sum: 7\r\n", "dropped")


@row(
    "trailers that are not sent",
    "`TE: trailers`, and a response of known length: it arrives, and the connection stays usable.",
)
def _(stage: Stage) -> Cell:
    client = stage.client()
    for _ in range(2):
        client.send(asking("/", "GET", "TE: trailers", "Connection: TE"))
        if client.answer().body != b"ok":
            return yes(False)
    return yes(True)


@row("trailers of requests", "`X-Sum`, sent after the last chunk of an upload, reaches the origin.")
def _(stage: Stage) -> Cell:
    body = b"6\r\nsummed\r\n0\r\nX-Sum: 7\r\n\r\n"
    came = stage.ask("/upload", "POST", "Transfer-Encoding: chunked", "Trailer: X-Sum", body=body)
    return yes(came.status == 200 and stage.request().trailers.lower() == b"x-sum: 7\r\n", "dropped")


@row("a response without a length", "An HTTP/1.1 response that ends with its connection is complete for the client.")
def _(stage: Stage) -> Cell:
    came = stage.ask("/to-the-end")
    return yes(came.end == "complete" and came.body == b"until it closes")


@row("an HTTP/1.0 origin", "The response arrives complete, as HTTP/1.1.")
def _(stage: Stage) -> Cell:
    came = stage.ask("/http10")
    return yes(came.end == "complete" and came.body == b"of old")


@row("ten kilobytes of fields", "A head of a hundred lines passes in both directions.")
def _(stage: Stage) -> Cell:
    came = stage.ask("/large-head", "GET", *(f"X-{n:03}: {'v' * 90}" for n in range(100)))
    if came.status != 200:
        return yes(False, str(came.status))
    both = [sum(name.lower().startswith(b"x-0") for name, _ in lines) for lines in (stage.request().lines, came.lines)]
    return yes(both == [100, 100])


# Bodies of requests


@row("a length stays a length", "A body of known length, including 0, arrives with its `Content-Length`.")
def _(stage: Stage) -> Cell:
    lengths = []
    for body in (b"hello", b""):
        stage.ask("/", "POST", f"Content-Length: {len(body)}", body=body)
        lengths.append(stage.request().values(b"content-length"))
    return yes(lengths == [[b"5"], [b"0"]])


@row("chunks stay chunks", "A body of unknown length, including an empty one, is forwarded in chunks.")
def _(stage: Stage) -> Cell:
    stage.ask("/", "POST", "Transfer-Encoding: chunked", body=b"5\r\nhello\r\n0\r\n\r\n")
    good = stage.request().values(b"transfer-encoding") == [b"chunked"] and stage.request().body == b"hello"
    return yes(good and not stage.request().values(b"content-length"))


@row(
    "no body stays no body",
    "A GET receives neither `Content-Length` nor `Transfer-Encoding`; one with a body keeps it.",
)
def _(stage: Stage) -> Cell:
    none = {b"content-length", b"transfer-encoding"} & {name for name, _ in _fields(stage)}
    stage.ask("/", "GET", "Content-Length: 5", body=b"hello")
    return yes(not none and stage.request().body == b"hello")


@row("100-continue is the origin's", "The client receives the 100 when the origin sends it, not before.")
def _(stage: Stage) -> Cell:
    client = stage.client()
    client.send(asking("/continue", "POST", "Expect: 100-continue", "Content-Length: 5"))
    stage.request()
    early = not _quiet(client)
    stage.door.release()
    if not early and client.head().status != 100:
        return Cell(0, "no 100")
    client.send(b"hello")
    good = client.answer().body == b"hello"
    return Cell(0, "fails") if not good else Cell(1, "its own") if early else Cell(2, "yes")


def _quiet(client: Client, seconds: float = 0.3) -> bool:
    """Whether nothing comes for a while."""
    client.plug.settimeout(seconds)
    try:
        return not client.plug.recv(1, socket.MSG_PEEK)
    except TimeoutError:
        return True
    finally:
        client.plug.settimeout(PATIENCE)


def _early(status: int, stage: Stage) -> Cell:
    client = stage.client()
    client.send(asking(f"/{status}", "POST", "Expect: 100-continue", "Content-Length: 5"))
    came = client.answer()
    if came.status != status:
        return Cell(0, str(came.status or "no response"))
    return Cell(1, "100 first") if 100 in came.interim else Cell(2, "yes")


for _status in (417, 401):
    ROWS.append(
        Row(
            f"100-continue: {_status} at once",
            "The origin refuses before the body: the client receives the refusal and no 100.",
            partial(_early, _status),
        )
    )


@row("refused during an upload", "413 arrives although the body is incomplete.")
def _(stage: Stage) -> Cell:
    client = stage.client()
    client.send(asking("/413", "POST", "Content-Length: 1000000") + b"x" * 10000)
    came = client.answer()
    return yes(came.status == 413 and came.body == b"no", str(came.status or "no response"))


# Ends


def _broken(path: str, stage: Stage) -> Cell:
    client = stage.client()
    client.plug.settimeout(NOTICED)
    client.send(asking(path))
    came = client.answer()
    if came.end == "broken":
        return Cell(2, "broken" if came.status else "closed")
    return Cell(1, "hangs") if came.end == "silent" else Cell(0, "looks complete")


for _name, _path in (
    ("chunks, FIN", "/broken/chunked/fin"),
    ("chunks, RST", "/broken/chunked/rst"),
    ("inside a chunk", "/broken/chunk/fin"),
    ("a known length, FIN", "/broken/length/fin"),
    ("a known length, RST", "/broken/length/rst"),
    ("no length, RST", "/broken/close/rst"),
):
    ROWS.append(
        Row(
            f"origin closes early: {_name}",
            "The client can detect a partial response: no last chunk, or too few bytes.",
            partial(_broken, _path),
        )
    )


def _bad_gateway(path: str, stage: Stage) -> Cell:
    came = stage.ask(path)
    return (
        Cell(2, "502")
        if (came.status, came.end) == (502, "complete")
        else Cell(int(came.status == 0 and came.end == "broken"), str(came.status or came.end))
    )


for _name, _path in (
    ("inside the head", "/broken/head/fin"),
    ("before the head, FIN", "/broken/before/fin"),
    ("before the head, RST", "/broken/before/rst"),
    ("with bytes that are not HTTP", "/broken/garbage"),
):
    ROWS.append(Row(f"origin ends {_name}", "The client receives 502.", partial(_bad_gateway, _path)))


@row("errors do not name the origin", "An error of the proxy itself does not contain the origin's address.")
def _(stage: Stage) -> Cell:
    came = stage.ask("/broken/before/fin")
    return yes(came.status == 502 and b"127.0.0.1" not in came.body and b"%d" % stage.door.port not in came.body)


@row(
    "a transfer coding that was not requested",
    "`Transfer-Encoding: gzip, chunked` is hop-by-hop, and without it the body is unreadable.",
)
def _(stage: Stage) -> Cell:
    came = stage.ask("/coding")
    unmarked = came.status == 200 and came.body == ZIPPED and came.values(b"transfer-encoding") == [b"chunked"]
    return Cell(0, "not marked") if unmarked else yes(came.status == 502, str(came.status or came.end))


# Connections


@row("the client's connection is reused", "Twenty consecutive requests on one connection.")
def _(stage: Stage) -> Cell:
    client = stage.client()
    for _ in range(20):
        client.send(asking("/"))
        if client.answer().body != b"ok":
            return yes(False)
    return yes(True)


@row("the origin's connections are reused", "Twenty requests, each on a separate connection, share one to the origin.")
def _(stage: Stage) -> Cell:
    for _ in range(20):
        stage.ask("/")
    count = len({id(request.connection) for request in stage.door.requests})
    return Cell(int(count <= 2), "yes" if count <= 2 else f"{count} connections")


@row(
    "a connection that the origin closes",
    "The origin closes an idle connection, ten times; no request is lost.",
)
def _(stage: Stage) -> Cell:
    for _ in range(10):
        stage.ask("/once")
        eventually(lambda: stage.request().connection.left, 1.0)
        time.sleep(0.05)  # what the origin has closed may take a moment to be seen
        if (status := stage.ask("/").status) != 200:
            return yes(False, str(status or "closed"))
    return yes(True)


@row("pipelined requests", "Five requests in one write: five responses, in order.")
def _(stage: Stage) -> Cell:
    client = stage.client()
    client.send(b"".join(asking(path) for path in ("/", "/large-head", "/chunked", "/204", "/late")))
    came = [client.answer() for _ in range(5)]
    right = [b"ok", b"ok", b"in chunks", b"", b"ok"]
    return yes([answered.body for answered in came] == right and {each.end for each in came} == {"complete"})


@row(
    "pipelined requests are stored as bytes",
    "250 kB of requests behind one without a response, on 20 connections: less than 200 kB of memory for each.",
)
def _(stage: Stage) -> Cell:
    def pipeline() -> None:
        for client in [stage.client() for _ in range(MANY)]:
            client.send(asking("/silent"))
            client.plug.setblocking(False)
            with suppress(BlockingIOError):
                client.plug.send(PIPELINED)
        eventually(lambda: len(stage.door.requests) == MANY, PATIENCE)
        stage.ask("/")

    grown = stage.proxy.grown(pipeline) / MANY
    return Cell(int(grown < WAITING), "yes" if grown < WAITING else "no", f"{grown / 1000:.0f} kB")


@row(
    "pipelined requests of a client that has left",
    "The client leaves during the first of many responses: the other requests are not forwarded.",
)
def _(stage: Stage) -> Cell:
    client = stage.client()
    client.send(asking("/late") + asking("/behind") * 2000)
    stage.request()
    client.leave()
    behind = eventually(lambda: any(request.target == b"/behind" for request in stage.door.requests), 0.6)
    return yes(not behind, "forwarded")


@row("HTTP/1.0 clients", "A response without chunks, after which the connection closes; also without `Host`.")
def _(stage: Stage) -> Cell:
    for head in (b"GET /chunked HTTP/1.0\r\nHost: here\r\n\r\n", b"GET /chunked HTTP/1.0\r\n\r\n"):
        client = stage.client()
        client.send(head)
        came = client.answer()
        if came.body != b"in chunks" or came.values(b"transfer-encoding") or came.end != "complete":
            return yes(False, str(came.status))
    return yes(True)


@row("HTTP/1.0 with `keep-alive`", "The connection stays open after a response of known length.")
def _(stage: Stage) -> Cell:
    client = stage.client()
    for _ in range(2):
        client.send(b"GET / HTTP/1.0\r\nHost: here\r\nConnection: keep-alive\r\n\r\n")
        if client.answer().body != b"ok":
            return yes(False, "closes")
    return yes(True)


@row(
    "half-closed clients",
    "A client that closes only its sending side counts as disconnected.",
)
def _(stage: Stage) -> Cell:
    client = stage.client()
    client.send(asking("/late"))
    client.plug.shutdown(socket.SHUT_WR)
    return yes(client.answer().body == b"ok")


@row("`Connection: close` is honoured", "The connection closes after the response.")
def _(stage: Stage) -> Cell:
    client = stage.client()
    client.send(asking("/", "GET", "Connection: close"))
    good = client.answer().body == b"ok"
    try:
        client.more()
    except Ended as ended:
        return yes(good and ended.how == "closed", ended.how)
    return yes(False)


@row("upgrades", "101 arrives, and then bytes pass unchanged in both directions.")
def _(stage: Stage) -> Cell:
    client = stage.client()
    client.send(asking("/upgrade", "GET", "Connection: Upgrade", "Upgrade: echo"))
    came = client.answer()
    if came.status != 101:
        return yes(False, str(came.status or came.end))
    client.send(b"\x00\xff anything")
    return yes(client.take(11) == b"\x00\xff anything")


# Large bodies


@row("64 MiB up, memory flat", "The process grows by less than a quarter of the body.")
def _(stage: Stage) -> Cell:
    def upload() -> None:
        client = stage.client(patience=20)
        client.send(asking("/upload", "POST", f"Content-Length: {BIG}"))
        block = bytes(1 << 20)
        for _ in range(BIG >> 20):
            client.send(block)
        if client.answer().status != 200:
            raise LookupError("not answered")

    grown = stage.proxy.grown(upload)
    return Cell(int(grown < FLAT), "yes" if grown < FLAT else "grows", f"{grown / 2**20:.1f} MiB")


@row("64 MiB down, memory flat", "The process grows by less than a quarter of the body.")
def _(stage: Stage) -> Cell:
    def download() -> None:
        client = stage.client(patience=20)
        client.send(asking("/download"))
        left = int(client.head().values(b"content-length")[0]) - len(client.buffer)
        space = bytearray(1 << 18)
        while left:
            size = client.plug.recv_into(space)
            if not size:
                raise LookupError(f"{left} bytes were missing")
            left -= size

    grown = stage.proxy.grown(download)
    return Cell(int(grown < FLAT), "yes" if grown < FLAT else "grows", f"{grown / 2**20:.1f} MiB")


def _settled(count: Callable[[], int]) -> int:
    """A count, when it has stopped growing."""
    last = -1
    while (now := count()) != last:
        last = now
        time.sleep(0.25)
    return now


@row(
    "a slow reader slows the origin", "The client does not read a response of 64 MiB: the origin cannot send all of it."
)
def _(stage: Stage) -> Cell:
    client = stage.client(window=1 << 16)
    client.send(asking("/download"))
    stage.request()
    held = _settled(lambda: stage.door.sent)
    return Cell(int(0 < held < HELD), "yes" if held < HELD else "no", f"{held / 2**20:.1f} MiB under way")


@row(
    "a slow origin slows the client", "The origin does not read an upload of 64 MiB: the client cannot send all of it."
)
def _(stage: Stage) -> Cell:
    client = stage.client()
    client.send(asking("/stuck", "POST", f"Content-Length: {BIG}"))
    stage.request()
    client.plug.setblocking(False)
    sent, block = 0, bytes(1 << 16)

    def push() -> int:
        nonlocal sent
        try:
            while sent < BIG:
                sent += client.plug.send(block)
        except BlockingIOError:
            pass
        return sent

    held = _settled(push)
    stage.door.release()
    return Cell(int(0 < held < HELD), "yes" if held < HELD else "no", f"{held / 2**20:.1f} MiB under way")


# Framing


@row(
    "`Content-Length` with `Transfer-Encoding`",
    "The origin never receives both; refusing is best, since either may be the wrong one.",
)
def _(stage: Stage) -> Cell:
    lines = ("Content-Length: 4", "Transfer-Encoding: chunked")
    came = stage.ask("/", "POST", *lines, body=b"5\r\nhello\r\n0\r\n\r\n")
    if not stage.door.requests:
        return Cell(2, str(came.status))
    names = {name.lower() for name, _ in stage.request().lines}
    both = {b"content-length", b"transfer-encoding"} <= names
    return Cell(0, "both are forwarded") if both else Cell(1, "one is forwarded")


def falls_short(cells: dict[str, Cell]) -> bool:
    """Whether one of the others does better than the sidecar."""
    return cells[SIDECAR].score < max(cell.score for cell in cells.values())
