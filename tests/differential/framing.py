"""Requests that parsers have read differently, as data: what is sent, and what has to become of it."""

from __future__ import annotations

from dataclasses import dataclass

REFUSED, READ, BROKEN, CUT, CLOSED = "refused", "read", "broken off", "cut", "closed behind"
"""What may become of a case. Refused: with a status, before the origin sees any of it, and the connection ends. Read:
as it was meant, and so by everybody. Broken off: its head was fine and had gone on, its body was not, and the origin
is never told that it is complete. Cut: closed without an answer, which may get lost where the client still sends.
Closed behind: the first request was read as it was meant, and the connection ended there."""


@dataclass(frozen=True)
class Meant:
    """A request as it was meant."""

    method: str
    target: str
    body: bytes = b""


@dataclass(frozen=True)
class Case:
    """Bytes, and what may become of them."""

    name: str
    sent: bytes
    may: tuple[str, ...]
    meant: tuple[Meant, ...] = ()


HOST = b"Host: here.example\r\n"
GET = b"GET /get HTTP/1.1\r\n" + HOST
POST = b"POST /post HTTP/1.1\r\n" + HOST
CHUNKS = b"5\r\nhello\r\n0\r\n\r\n"
ADMIN = b"GET /admin HTTP/1.1\r\n" + HOST + b"\r\n"
INSIDE = b"%x\r\n" % len(ADMIN) + ADMIN + b"\r\n0\r\n\r\n"
WRAPPED = b"Content-Length: %d\r\n\r\n" % len(ADMIN) + ADMIN
TE, CL = b"Transfer-Encoding: chunked\r\n", b"Content-Length: 5\r\n"
UPGRADE = b"Connection: Upgrade\r\nUpgrade: echo\r\n"
H2C = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"

GOT, POSTED, EMPTY = Meant("GET", "/get"), Meant("POST", "/post", b"hello"), Meant("POST", "/post")
NEXT = Meant("GET", "/admin")


def refused(name: str, sent: bytes) -> Case:
    """Nothing of it may reach the origin."""
    return Case(name, sent, (REFUSED,))


def read(name: str, sent: bytes, *meant: Meant) -> Case:
    """It is right, and is forwarded."""
    return Case(name, sent, (READ,), meant)


def either(name: str, sent: bytes, *meant: Meant) -> Case:
    """It may be refused, or else has to be read as it was meant."""
    return Case(name, sent, (REFUSED, BROKEN, READ), meant)


def broken(name: str, body: bytes) -> Case:
    """A body in chunks that are none."""
    return Case(name, POST + TE + b"\r\n" + body, (REFUSED, BROKEN))


def coding(value: bytes, body: bytes = CHUNKS) -> Case:
    """A transfer coding that must not be taken for `chunked`, nor for none."""
    return refused(f"Transfer-Encoding: {_shown(value)}", POST + b"Transfer-Encoding:" + value + b"\r\n\r\n" + body)


def length(value: bytes) -> Case:
    """A length that is none."""
    return refused(f"Content-Length: {_shown(value)}", POST + b"Content-Length:" + value + b"\r\n\r\nhello")


def line(name: str, bad: bytes) -> Case:
    """A bad line among good ones."""
    return refused(name, GET + b"X-Before: 1\r\n" + bad + b"\r\nX-After: 1\r\n\r\n")


def first_line(sent: bytes, name: str = "") -> Case:
    """A bad request line."""
    return refused(f"request line {name or _shown(sent)}", sent + b"\r\n" + HOST + b"\r\n")


def host(value: bytes) -> Case:
    """A host that is none."""
    return refused(f"Host: {_shown(value)}", b"GET /get HTTP/1.1\r\nHost: " + value + b"\r\n\r\n")


def chunk_size(size: bytes) -> Case:
    """A size of five that is none."""
    return broken(f"chunk size {_shown(size)}", size + b"\r\nhello\r\n0\r\n\r\n")


def trailer(name: str, trailers: bytes, *, good: bool = False) -> Case:
    """A trailer that must not change how the message is read."""
    sent = POST + TE + b"\r\n5\r\nhello\r\n0\r\n" + trailers + b"\r\n\r\n"
    return Case(name, sent, (REFUSED, BROKEN, READ) if good else (REFUSED, BROKEN), (POSTED,))


def _shown(value: bytes) -> str:
    return value.strip(b" ").decode("latin-1").encode("unicode_escape").decode() or "(empty)"


CASES = (
    # Two framings
    refused("CL and TE", POST + b"Content-Length: 15\r\n" + TE + b"\r\n" + CHUNKS),
    refused("TE and CL", POST + TE + b"Content-Length: 15\r\n\r\n" + CHUNKS),
    refused("CL.TE, a request inside", POST + b"Content-Length: 56\r\n" + TE + b"\r\n0\r\n\r\n" + ADMIN),
    refused("TE.CL, a request inside", POST + TE + b"Content-Length: 4\r\n\r\n" + INSIDE),
    refused("CL: 0 and TE", POST + b"Content-Length: 0\r\n" + TE + b"\r\n" + CHUNKS),
    refused("CL and TE: identity", POST + CL + b"Transfer-Encoding: identity\r\n\r\nhello"),
    refused("HTTP/1.0 with TE", POST.replace(b"1.1", b"1.0") + TE + b"\r\n" + CHUNKS),
    # Transfer codings
    *map(coding, (b" chunked, identity", b" identity", b" identity, chunked", b" xchunked", b" chunkedx", b" chunk")),
    *map(coding, (b" chunked\x0b", b" \x0bchunked", b" chunked, x", b" chunked\x00", b' "chunked"', b" chunked;q=1")),
    *map(coding, (b" chunked chunked", b" chunked, chunked", b" gzip, chunked", b" gzip", b"", b" \xa0chunked")),
    refused("TE twice, chunked and identity", POST + TE + b"Transfer-Encoding: identity\r\n\r\n" + CHUNKS),
    refused("TE twice, identity and chunked", POST + b"Transfer-Encoding: identity\r\n" + TE + b"\r\n" + CHUNKS),
    refused("TE twice, chunked and chunked", POST + TE + TE + b"\r\n" + CHUNKS),
    refused("TE twice, chunked and nothing", POST + TE + b"Transfer-Encoding:\r\n\r\n" + CHUNKS),
    refused("TE, space before the colon", POST + b"Transfer-Encoding : chunked\r\n\r\n" + CHUNKS),
    refused("TE folded", POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n" + CHUNKS),
    refused("TE behind a fold", POST + b"X-A: 1\r\n Transfer-Encoding: chunked\r\n" + CL + b"\r\nhello"),
    refused("TE behind a bare CR", POST + b"X-A: 1\rTransfer-Encoding: chunked\r\n" + CL + b"\r\nhello"),
    refused("TE behind a bare LF", POST + b"X-A: 1\nTransfer-Encoding: chunked\r\n" + CL + b"\r\nhello"),
    refused("TE with NUL in its name", POST + b"Transfer-Encoding\x00: chunked\r\n" + CL + b"\r\nhello"),
    either("TE with a comma behind", POST + b"Transfer-Encoding: chunked,\r\n\r\n" + CHUNKS, POSTED),
    either("TE with a comma before", POST + b"Transfer-Encoding: ,chunked\r\n\r\n" + CHUNKS, POSTED),
    read("TE behind a tab", POST + b"Transfer-Encoding:\tchunked\r\n\r\n" + CHUNKS, POSTED),
    read("TE without a space, one behind", POST + b"Transfer-Encoding:chunked \r\n\r\n" + CHUNKS, POSTED),
    read("TE in capitals", POST + b"TRANSFER-ENCODING: CHUNKED\r\n\r\n" + CHUNKS, POSTED),
    either("TE written with an underscore", POST + CL + b"Transfer_Encoding: chunked\r\n\r\nhello", POSTED),
    # Lengths
    refused("two CL, different", POST + CL + b"Content-Length: 6\r\n\r\nhello!"),
    refused("two CL, the same", POST + CL + CL + b"\r\nhello"),
    *map(length, (b" 5, 5", b" 5, 6", b" +5", b" -1", b" -0", b" 0x5", b" 5 5", b" 5;", b" 5.0", b" 1e1")),
    *map(length, (b"", b" five", b" 99999999999999999999999", b" 18446744073709551621", b" 5\x0b", b" \x0b5")),
    *map(length, (b" \xef\xbc\x95", b" 5\x00")),
    refused("CL, space before the colon", POST + b"Content-Length : 5\r\n\r\nhello"),
    refused("CL folded", POST + b"Content-Length:\r\n 5\r\n\r\nhello"),
    read("CL between spaces", POST + b"Content-Length: \t 5 \t\r\n\r\nhello", POSTED),
    either("CL with zeros before", POST + b"Content-Length: 005\r\n\r\nhello", POSTED),
    either("CL named by Connection", POST + b"Connection: content-length\r\n" + CL + b"\r\nhello", POSTED),
    either("TE named by Connection", POST + b"Connection: transfer-encoding\r\n" + TE + b"\r\n" + CHUNKS, POSTED),
    either("Host named by Connection", GET + b"Connection: host\r\n\r\n", GOT),
    # Lines
    line("a folded field", b"X-A: 1\r\n 2"),
    line("a field folded with a tab", b"X-A: 1\r\n\t2"),
    refused("a space before the first field", b"GET /get HTTP/1.1\r\n X-A: 1\r\n" + HOST + b"\r\n"),
    refused("a space before Host", b"GET /get HTTP/1.1\r\n " + HOST + b"\r\n"),
    refused("lines end with LF", (GET + b"\r\n").replace(b"\r\n", b"\n")),
    refused("one line ends with LF", GET + b"X-A: 1\n\r\n"),
    refused("the request line ends with LF", b"GET /get HTTP/1.1\n" + HOST + b"\r\n"),
    refused("the head ends with LF", GET + b"X-A: 1\r\n\n"),
    refused("lines end with CR", (GET + b"\r\n").replace(b"\r\n", b"\r") + b"\r\n\r\n"),
    line("bare CR in a value", b"X-A: 1\r2"),
    line("bare CR before a line's end", b"X-A: 1\r"),
    line("bare CR in a name", b"X\r-A: 1"),
    line("bare LF in a name", b"X\n-A: 1"),
    line("NUL in a value", b"X-A: 1\x002"),
    line("NUL in a name", b"X\x00-A: 1"),
    line("space before the colon", b"X-A : 1"),
    line("tab before the colon", b"X-A\t: 1"),
    line("space in a name", b"X A: 1"),
    line("a name with brackets", b"X(A): 1"),
    line("a name beyond ASCII", b"X-\xc3\xa9: 1"),
    line("an empty name", b": 1"),
    line("no colon", b"nonsense"),
    either("a control byte in a value", GET + b"X-A: 1\x012\r\n\r\n", GOT),
    either("DEL in a value", GET + b"X-A: 1\x7f2\r\n\r\n", GOT),
    # Chunks
    *map(chunk_size, (b"+5", b"-5", b"0x5", b" 5", b"\t5", b"5h", b"G", b"", b"5_0", b"5 5", b"FFFFFFFFFFFFFFFF5")),
    *map(chunk_size, (b"10000000000000005", b"5\x0b", b"5\x00", b"5,", b"5;a\nb", b"5;a\rb", b"5;\x00")),
    either("chunk size with a space behind", POST + TE + b"\r\n5 \r\nhello\r\n0\r\n\r\n", POSTED),
    either("chunk extension quoted", POST + TE + b'\r\n5;a="b;c"\r\nhello\r\n0\r\n\r\n', POSTED),
    either("chunk extension, 100,000 bytes", POST + TE + b"\r\n5;" + b"a" * 100000 + b"\r\nhello\r\n0\r\n\r\n", POSTED),
    either("chunk size with 100 zeros before", POST + TE + b"\r\n" + b"0" * 100 + b"5\r\nhello\r\n0\r\n\r\n", POSTED),
    read("chunk extension", POST + TE + b"\r\n5;a=b\r\nhello\r\n0;c\r\n\r\n", POSTED),
    read("chunk size 0005, last 000", POST + TE + b"\r\n0005\r\nhello\r\n000\r\n\r\n", POSTED),
    read("chunk size in both cases", POST + TE + b"\r\na\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n",
         Meant("POST", "/post", b"0123456789" * 2)),
    broken("chunk size ends with LF", b"5\nhello\r\n0\r\n\r\n"),
    broken("chunk size ends with CR", b"5\rhello\r\n0\r\n\r\n"),
    broken("chunk ends with LF", b"5\r\nhello\n0\r\n\r\n"),
    broken("chunk ends with CR", b"5\r\nhello\r0\r\n\r\n"),
    broken("chunk without an end", b"5\r\nhello0\r\n\r\n"),
    broken("chunk longer than its size", b"5\r\nhello!!\r\n0\r\n\r\n"),
    broken("chunk shorter than its size", b"6\r\nhello\r\n0\r\n\r\n" + ADMIN),
    broken("last chunk ends with LF", b"5\r\nhello\r\n0\n\r\n"),
    broken("the body ends with LF", b"5\r\nhello\r\n0\r\n\n"),
    broken("everything ends with LF", b"5\nhello\n0\n\n"),
    broken("no last chunk", b"5\r\nhello\r\n"),
    broken("no end after the last chunk", b"5\r\nhello\r\n0\r\n"),
    # Trailers
    trailer("TE among the trailers", b"Transfer-Encoding: chunked", good=True),
    trailer("CL among the trailers", b"Content-Length: 50", good=True),
    trailer("Host among the trailers", b"Host: other.example", good=True),
    trailer("trailer with a space before the colon", b"X-A : 1"),
    trailer("trailer folded", b"X-A: 1\r\n 2"),
    trailer("trailer without a colon", b"nonsense"),
    trailer("trailer with NUL", b"X-A: 1\x002"),
    trailer("trailer ends with LF", b"X-A: 1\nX-B: 2"),
    trailer("trailers of 1 MiB", b"X-A: 1\r\n" * (1 << 17)),
    # One after the other
    read("a request behind a body", POST + CL + b"\r\nhello" + ADMIN, POSTED, NEXT),
    read("a request behind chunks", POST + TE + b"\r\n" + CHUNKS + ADMIN, POSTED, NEXT),
    read("a request behind CL: 0", POST + b"Content-Length: 0\r\n\r\n" + ADMIN, EMPTY, NEXT),
    read("a request behind a POST without a body", POST + b"\r\n" + ADMIN, EMPTY, NEXT),
    read("a request inside a body", POST + WRAPPED, Meant("POST", "/post", ADMIN)),
    read("a request inside a GET's body", GET + WRAPPED, Meant("GET", "/get", ADMIN)),
    read("GET with chunks", GET + TE + b"\r\n" + CHUNKS, Meant("GET", "/get", b"hello")),
    read("HEAD with a body", b"HEAD /get HTTP/1.1\r\n" + HOST + CL + b"\r\nhello", Meant("HEAD", "/get", b"hello")),
    Case("a request behind one that closes", GET + b"Connection: close\r\n\r\n" + ADMIN, (READ,), (GOT,)),
    either("Upgrade with a body", POST + UPGRADE + CL + b"\r\nhello", POSTED),
    either("Upgrade: h2c", GET + H2C + b"\r\n", GOT),
    Case("Upgrade, a request behind", GET + UPGRADE + b"\r\n" + ADMIN, (REFUSED, READ, CLOSED), (GOT, NEXT)),
    either("Expect: nonsense", POST + b"Expect: nonsense\r\n" + CL + b"\r\nhello", POSTED),
    # Hosts
    refused("no Host", b"GET /get HTTP/1.1\r\n\r\n"),
    refused("two Hosts", GET + b"Host: other.example\r\n\r\n"),
    refused("two Hosts, the same", GET + HOST + b"\r\n"),
    *map(host, (b"a b", b"a/b", b"user@a", b"a?b", b"a#b", b"a\\b", b"a\x00b", b"a\tb", b"a:b", b"[::1", b"a:80:80")),
    either("Host with a comma", b"GET /get HTTP/1.1\r\nHost: a,b\r\n\r\n", GOT),
    either("Host is empty", b"GET /get HTTP/1.1\r\nHost:\r\n\r\n", GOT),
    read("Host in brackets", b"GET /get HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", GOT),
    read("HTTP/1.0 without Host", b"GET /get HTTP/1.0\r\n\r\n", GOT),
    read("HTTP/1.0, a whole URL without Host", b"GET http://here.example/get HTTP/1.0\r\n\r\n", GOT),
    refused("HTTP/1.0, a whole URL with a user", b"GET http://a@here.example/get HTTP/1.0\r\n\r\n"),
    refused("a whole URL without a host", b"GET http:///get HTTP/1.1\r\nHost:\r\n\r\n"),
    # Request lines
    either("a whole URL", b"GET http://here.example/get HTTP/1.1\r\n" + HOST + b"\r\n", GOT),
    either("a whole URL of another host", b"GET http://other.example/get HTTP/1.1\r\n" + HOST + b"\r\n", GOT),
    read("OPTIONS *", b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n", Meant("OPTIONS", "*")),
    either("target beyond ASCII", b"GET /\xc3\xa9 HTTP/1.1\r\n" + HOST + b"\r\n", Meant("GET", "/\xc3\xa9")),
    either("target with a fragment", b"GET /get#part HTTP/1.1\r\n" + HOST + b"\r\n", Meant("GET", "/get#part")),
    either("an empty line before", b"\r\n" + GET + b"\r\n", GOT),
    either("HTTP/1.2", b"GET /get HTTP/1.2\r\n" + HOST + b"\r\n", GOT),
    *map(first_line, (b"GET here.example:80 HTTP/1.1", b"CONNECT here.example:80 HTTP/1.1", b"GET * HTTP/1.1")),
    *map(first_line, (b"CONNECT /get HTTP/1.1", b"CONNECT http://here.example/get HTTP/1.1")),
    *map(first_line, (b"GET get HTTP/1.1", b"GET  HTTP/1.1", b"GET /a b HTTP/1.1", b"GET /a\tb HTTP/1.1")),
    *map(first_line, (b"GET /a\x00b HTTP/1.1", b"GET /a\x01b HTTP/1.1", b"GET /a\x7fb HTTP/1.1")),
    either("two spaces before the target", b"GET  /get HTTP/1.1\r\n" + HOST + b"\r\n", GOT),
    either("two spaces behind the target", b"GET /get  HTTP/1.1\r\n" + HOST + b"\r\n", GOT),
    *map(first_line, (b"GET /a\rb HTTP/1.1", b"GET\t/get\tHTTP/1.1", b"GET /get HTTP/1.1\t")),
    first_line(b"GET /get HTTP/1.1 ", "with a space behind"),
    first_line(b" GET /get HTTP/1.1", "with a space before"),
    *map(first_line, (b"GE(T /get HTTP/1.1", b"GE\x00T /get HTTP/1.1", b"G\xc3\x89T /get HTTP/1.1")),
    *map(first_line, (b"GET /get", b"GET /get HTTP/0.9", b"GET /get HTTP/2.0", b"GET /get HTTP/3")),
    *map(first_line, (b"GET /get HTTP/01.1", b"GET /get HTTP/1.10", b"GET /get HTTP/1.1x", b"GET /get http/1.1")),
    *map(first_line, (b"GET /get HTTP/1", b"GET /get HTTPS/1.1")),
    refused("HTTP/0.9 without fields", b"GET /get\r\n\r\n"),
    refused("the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    Case("the greeting of TLS", b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00\r\n\r\n", (REFUSED, CUT)),
    # Sizes
    Case("a field of 1 MiB", GET + b"X-A: " + b"a" * (1 << 20) + b"\r\n\r\n", (REFUSED, CUT)),
    Case("a name of 1 MiB", GET + b"a" * (1 << 20) + b": 1\r\n\r\n", (REFUSED, CUT)),
    Case("a target of 1 MiB", b"GET /" + b"a" * (1 << 20) + b" HTTP/1.1\r\n" + HOST + b"\r\n", (REFUSED, CUT)),
    Case("a method of 1 MiB", b"G" * (1 << 20) + b" /get HTTP/1.1\r\n" + HOST + b"\r\n", (REFUSED, CUT)),
    Case("100,000 fields", GET + b"X-A: 1\r\n" * 100000 + b"\r\n", (REFUSED, CUT)),
    Case("a head without an end", GET + b"X-A: 1\r\n" * (1 << 19), (REFUSED, CUT)),
    Case("1 MiB of empty lines before", b"\r\n" * (1 << 19) + GET + b"\r\n", (REFUSED, CUT)),
)  # fmt: skip
