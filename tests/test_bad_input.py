"""Whatever a client sends: a 4xx of the closed list, in bounded memory, and the backend sees nothing."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from ap_resume_shim import Limits, ResumeShim
from tests.support.agent import PROTOCOL, Agent
from tests.support.calling import CLIENT
from tests.support.serving import serving
from tests.support.sockets import connect, read_head, talk
from tests.support.waiting import eventually

MEGABYTE = 1024 * 1024


@pytest.fixture(scope="module")
def agent() -> Agent:
    return Agent()


@pytest.fixture(scope="module")
def url(agent: Agent) -> Iterator[str]:
    with serving(ResumeShim(agent, PROTOCOL)) as address:
        yield address


def body(**fields: Any) -> bytes:
    return json.dumps({"thread_id": "t", "input": 1, **fields}).encode()


def deep(levels: int) -> bytes:
    return b'{"thread_id": "t", "input": ' + b"[" * levels + b"]" * levels + b"}"


WRONG: dict[str, bytes] = {
    "nothing": b"",
    "white space": b" \r\n\t",
    "not json": b"{thread_id: t}",
    "half": b'{"thread_id": "t"',
    "two values": b"{}{}",
    "a form": b"thread_id=t&input=yes",
    "nan": b'{"thread_id": "t", "input": NaN}',
    "infinity": b'{"thread_id": "t", "input": [-Infinity]}',
    "too large a number": b'{"thread_id": "t", "input": 1e999}',
    "a number without end": b'{"thread_id": "t", "input": ' + b"9" * 100_000 + b"}",
    "invalid utf-8": b'{"thread_id": "t", "input": "\xff"}',
    "utf-16": '{"thread_id": "t"}'.encode("utf-16"),
    "a byte order mark": b'\xef\xbb\xbf{"thread_id": "t"}',
    "half a character": b'{"thread_id": "t", "input": "\\ud800"}',
    "a control character": b'{"thread_id": "t", "input": "\x00"}',
    "nested 201 levels deep": deep(201),
    "nested 100,000 levels deep": deep(100_000),
    "objects nested deep": b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
    "a list": b"[]",
    "a string": b'"t"',
    "null": b"null",
    "no thread": b"{}",
    "null for a thread": body(thread_id=None),
    "a number for a thread": body(thread_id=7),
    "a list for a thread": body(thread_id=["t"]),
    "an empty thread": body(thread_id=""),
    "a long thread": body(thread_id="x" * 513),
    "a slash": body(thread_id="a/b"),
    "a backslash": body(thread_id="a\\b"),
    "up": body(thread_id=".."),
    "here": body(thread_id="."),
    "out of the path": body(thread_id="../runs/search"),
    "a line break": body(thread_id="t\r\nx: y"),
    "a zero byte": body(thread_id="t\0"),
    "an agent's path": body(agent_id="../a"),
    "a number for an agent": body(agent_id=1),
    "a string for messages": body(messages="hi"),
    "a message without a role": body(messages=[{"content": "hi"}], input=None),
    "input and messages": body(messages=[{"role": "user", "content": "hi"}]),
    "a string for metadata": body(metadata="x"),
    "a list for config": body(config=[]),
    "a string for tags": body(config={"tags": "x"}),
    "a string for a limit": body(config={"recursion_limit": "5"}),
    "an unknown completion": body(on_completion="burn"),
    "an unknown disconnect": body(on_disconnect="wait"),
    "a number for an interrupt": body(interrupt_id=1),
    "a command": body(command={"resume": 1}),
    "creation": body(if_not_exists="create"),
    "a strategy": body(multitask_strategy="enqueue"),
    "a repeated key": b'{"thread_id": "t", "input": 1, "input": 2}',
    "a repeated key inside": b'{"thread_id": "t", "input": {"a": 1, "a": 1}}',
    "a repeated thread": b'{"thread_id": "t", "thread_id": "u"}',
}


@pytest.mark.parametrize("route", ["", "/wait", "/stream"])
@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_refused_and_the_backend_sees_nothing(agent: Agent, url: str, name: str, route: str) -> None:
    answer = CLIENT.patch(f"{url}/runs/resume{route}", content=WRONG[name])
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/json")
    assert is_error(answer, "invalid_request", "unsupported_field")
    assert agent.seen == []


def is_error(answer: httpx.Response, *codes: str) -> bool:
    """Whether the body is the draft's error, with a message for a person that is not the whole input."""
    told = answer.json()
    text = told["message"]
    return (
        sorted(told) == ["code", "message", "metadata"]
        and told["code"] in codes
        and isinstance(told["metadata"], dict)
        and 10 < len(text) < 1000
        and "Traceback" not in answer.text
    )


def test_a_mode_belongs_to_streams(agent: Agent, url: str) -> None:
    answers = [CLIENT.patch(f"{url}/runs/resume{route}", content=body(stream_mode="values")) for route in ("", "/wait")]
    assert [answer.json()["code"] for answer in answers] == ["unsupported_field"] * 2
    unknown = CLIENT.patch(f"{url}/runs/resume/stream", content=body(stream_mode="events"))
    assert (unknown.status_code, agent.seen) == (422, [])


@pytest.mark.parametrize("encoding", ["gzip", "br", "gzip, identity"])
def test_a_compressed_body_is_refused(agent: Agent, url: str, encoding: str) -> None:
    answer = CLIENT.patch(f"{url}/runs/resume", content=body(), headers={"content-encoding": encoding})
    assert (answer.status_code, agent.seen) == (422, [])
    assert "plain JSON" in answer.json()["message"]


def test_two_pins_that_differ_are_refused(agent: Agent, url: str) -> None:
    answer = CLIENT.patch(f"{url}/runs/resume", content=body(interrupt_id="a"), headers={"ap-interrupt-id": "b"})
    assert (answer.status_code, agent.seen) == (422, [])


def test_a_body_one_byte_too_large_is_refused() -> None:
    limits = Limits(body=100)
    with serving(ResumeShim(agent := Agent(), PROTOCOL, limits=limits)) as url:
        fits = CLIENT.patch(f"{url}/runs/resume", content=body().ljust(100))
        large = CLIENT.patch(f"{url}/runs/resume", content=b"x" * 101)
    assert (fits.status_code, large.status_code, large.json()["metadata"]) == (200, 413, {"limit": 100})
    assert len(agent.resumes) == 1


@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_100_megabytes_are_refused_in_bounded_memory(framing: str) -> None:
    pieces = (b"[" * MEGABYTE for _ in range(100))
    length = {"content-length": str(100 * MEGABYTE)} if framing == "length" else {}
    with server_process() as (url, peak):
        assert CLIENT.patch(f"{url}/runs/resume", content=body()).status_code == 200
        before = peak()
        answer = CLIENT.patch(f"{url}/runs/resume", content=pieces, headers=length, timeout=60)
        assert (answer.status_code, is_error(answer, "request_too_large")) == (413, True)
        assert peak() - before < 40 * MEGABYTE


SERVER = """
import resource, sys, uvicorn
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from ap_resume_shim import ResumeShim
from tests.support.agent import PROTOCOL, Agent
from tests.support.serving import listening

def peak(request):
    return PlainTextResponse(str(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))

bound = listening()
print(bound.getsockname()[1], flush=True)
app = Starlette(routes=[Route("/peak", peak), Mount("/", app=ResumeShim(Agent(), PROTOCOL))])
uvicorn.Server(uvicorn.Config(app, log_level="critical", timeout_graceful_shutdown=1)).run(sockets=[bound])
"""


class server_process:
    """The shim in a process of its own, which tells the most memory that it ever had."""

    def __enter__(self) -> tuple[str, Any]:
        self.process = subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        url = f"http://127.0.0.1:{int(self.process.stdout.readline())}"
        unit = 1 if sys.platform == "darwin" else 1024
        eventually(lambda: is_up(url))
        return url, lambda: int(CLIENT.get(f"{url}/peak").text) * unit

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.communicate(timeout=20)


def is_up(url: str) -> bool:
    try:
        return CLIENT.get(f"{url}/peak").is_success
    except httpx.ConnectError:
        return False


@pytest.mark.parametrize(
    "text",
    [b"[" + b"[]," * 1_300_000 + b"[]]", b"[" + b"0," * 1_900_000 + b"0]", b'"' + b"\\u0000" * 650_000 + b'"'],
    ids=["lists", "numbers", "escapes"],
)
def test_the_largest_body_is_read_in_bounded_memory(text: bytes) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with serving(ResumeShim(Agent(), PROTOCOL)) as url:
        raw = b'{"thread_id": "..", "input": ' + text + b"}"
        assert CLIENT.patch(f"{url}/runs/resume", content=raw, timeout=60).status_code == 422
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 600 * 1024


def test_a_body_that_never_ends_holds_nothing_up(agent: Agent, url: str) -> None:
    with connect(url) as slow:
        slow.sendall(b"PATCH /runs/resume HTTP/1.1\r\nhost: x\r\ncontent-length: 50\r\n\r\n{")
        assert CLIENT.patch(f"{url}/runs/resume", content=b"").status_code == 422
    assert agent.seen == []


def test_a_client_that_leaves_in_its_body_is_forgotten(agent: Agent, url: str) -> None:
    for _ in range(20):
        with connect(url) as client:
            client.sendall(b"PATCH /runs/resume HTTP/1.1\r\nhost: x\r\ncontent-length: 50\r\n\r\n{")
    time.sleep(0.1)
    assert (CLIENT.patch(f"{url}/runs/resume", content=b"").status_code, agent.seen) == (422, [])


def test_a_client_that_waits_for_100_continue_is_told_to_go_on(url: str) -> None:
    with connect(url) as client:
        client.sendall(
            b"PATCH /runs/resume HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\nexpect: 100-continue\r\n"
            b"connection: close\r\n\r\n"
        )
        assert read_head(client).startswith(b"HTTP/1.1 100")
        client.sendall(b"[]")
        assert read_head(client).startswith(b"HTTP/1.1 422")


@pytest.mark.parametrize(
    "header", [b"ap-interrupt-id: \xff\xfe", b"accept: \xff", b"content-encoding: \xff", b"cookie: \xff"]
)
def test_header_bytes_outside_ascii_break_nothing(agent: Agent, url: str, header: bytes) -> None:
    request = (
        b"PATCH /runs/resume HTTP/1.1\r\nhost: x\r\nconnection: close\r\n%s\r\ncontent-length: 2\r\n\r\n{}" % header
    )
    assert talk(url, request).startswith(b"HTTP/1.1 422")
    assert agent.seen == []


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "nonsense", ""])
def test_the_kind_of_the_body_does_not_matter(url: str, kind: str) -> None:
    answer = CLIENT.patch(f"{url}/runs/resume", content=b"{}", headers={"content-type": kind})
    assert "thread_id" in answer.json()["message"]
