"""What clients send to find a request again: read where it is valid, carried on, and never made up."""

from __future__ import annotations

import pytest

from ap_resume_shim.core.http import Request
from ap_resume_shim.runtime.exchange import synthesise
from ap_resume_shim.runtime.trace_context import request_id, trace_id
from tests.support.agent import Agent, resume, shimmed
from tests.support.calling import http

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def traced(*values: str) -> str | None:
    return trace_id(http(headers=[(b"traceparent", value.encode()) for value in values]))


@pytest.mark.parametrize(
    "value",
    [f"00-{TRACE}-{PARENT}-01", f"00-{TRACE}-{PARENT}-00", f"01-{TRACE}-{PARENT}-01", f"cc-{TRACE}-{PARENT}-09-x"],
)
def test_a_trace_is_known_by_a_valid_traceparent(value: str) -> None:
    assert traced(value) == TRACE


@pytest.mark.parametrize(
    "value",
    [
        *("", TRACE, f"00-{TRACE}-{PARENT}", f"00-{TRACE}-{PARENT}-1", f" 00-{TRACE}-{PARENT}-01"),
        f"ff-{TRACE}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-01-x",
        f"01-{TRACE}-{PARENT}-01x",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{PARENT}-01",
        f"00-{TRACE[1:]}g-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-01\n",
    ],
)
def test_a_traceparent_that_is_not_valid_names_no_trace(value: str) -> None:
    assert traced(value) is None


def test_two_traceparents_name_no_trace() -> None:
    assert traced(*[f"00-{TRACE}-{PARENT}-01"] * 2) is None
    assert traced() is None


@pytest.mark.parametrize("value", ["a", "0b6e-4f", "a/b+c=", "x" * 128, '"quoted"'])
def test_a_request_id_is_any_visible_ascii(value: str) -> None:
    assert request_id(http(headers=[(b"x-request-id", value.encode())])) == value


@pytest.mark.parametrize("value", [b"", b"a b", b"x" * 129, b"\xc3\xa9", b"a\n", b"a\x00", b"a\x7f", b"\t"])
def test_a_request_id_that_is_anything_else_is_none(value: bytes) -> None:
    assert request_id(http(headers=[(b"x-request-id", value)])) is None


def test_two_request_ids_are_none() -> None:
    assert request_id(http(headers=[(b"x-request-id", b"a"), (b"x-request-id", b"a")])) is None


@pytest.mark.parametrize("name", [b"traceparent", b"tracestate", b"x-request-id"])
def test_requests_of_the_shim_carry_them_on_as_they_came(name: bytes) -> None:
    headers = [(name, b"any thing"), (name, b"twice")]
    made = synthesise(http("PATCH", "/runs/resume", headers=headers), Request.get("/info"), "")
    assert made["headers"][:2] == headers


@pytest.mark.parametrize("route", ["", "/wait", "/stream"])
def test_the_answer_to_a_resume_has_its_request_id(route: str) -> None:
    with shimmed(agent := Agent()) as url:
        answer = resume(url, route, {"x-request-id": "r-1"})
        refused = resume(url, route, {"x-request-id": "r-2"})
    assert (answer.status_code, answer.headers.get_list("x-request-id")) == (200, ["r-1"])
    assert (refused.status_code, refused.headers.get_list("x-request-id")) == (409, ["r-2"])
    assert (b"x-request-id", b"r-1") in agent.resumes[0].headers


@pytest.mark.parametrize("headers", [{}, {"x-request-id": "not sane"}])
def test_the_answer_has_none_that_was_not_sent(headers: dict[str, str]) -> None:
    with shimmed(agent := Agent()) as url:
        assert "x-request-id" not in resume(url, headers=headers).headers
    assert (b"x-request-id" in agent.resumes[0].names) == bool(headers)
    assert b"traceparent" not in agent.resumes[0].names
