"""What a backend's answers mean."""

from __future__ import annotations

import pytest

from ap_resume_shim.core.errors import InvalidRequest, ResumeError, UpstreamUnrecognised
from ap_resume_shim.core.exchange import Response
from ap_resume_shim.core.reading import RAISES, Rule, error_text, read_lookup, read_refusal


def test_a_lookup_is_json() -> None:
    assert read_lookup(Response(200, (), b'{"a":1}')) == {"a": 1}
    assert read_lookup(Response(200, (), b"[]")) == []


@pytest.mark.parametrize("body", [b"<html>", b"", b'"text"', b"null"])
def test_a_lookup_that_is_something_else_is_unrecognised(body: bytes) -> None:
    with pytest.raises(UpstreamUnrecognised) as refused:
        read_lookup(Response(200, (), body))
    assert refused.value.metadata["upstream_status"] == 200
    assert refused.value.message.endswith("Is it the kind of server that the shim was told?")


def test_a_lookup_that_is_refused_raises_what_the_refusal_means() -> None:
    with pytest.raises(ResumeError) as refused:
        read_lookup(Response(400, (), b"no such thread"), [Rule(400, "thread_not_found", "no such")])
    assert refused.value.code == "thread_not_found"


@pytest.mark.parametrize(
    ("status", "code", "answered_with"),
    [
        (400, "invalid_request", 422),
        (401, "unauthorized", 401),
        (403, "forbidden", 403),
        (404, "thread_not_found", 404),
        (409, "thread_busy", 409),
        (413, "request_too_large", 413),
        (422, "invalid_request", 422),
        (429, "rate_limited", 429),
        (500, "upstream_error", 502),
        (503, "upstream_error", 502),
        (307, "upstream_unrecognised", 502),
        (405, "upstream_unrecognised", 502),
    ],
)
def test_a_status_means_an_error_of_ours_that_ends_with_advice(status: int, code: str, answered_with: int) -> None:
    error = read_refusal(Response(status, (), b'{"detail":"Because."}'))
    assert (error.code, error.http_status) == (code, answered_with)
    assert error.message.rpartition(": ")[2].rpartition("Because. ")[2]
    assert error.message.endswith((".", "?"))


def test_who_refuses_the_client_keeps_what_the_client_needs_and_nothing_else() -> None:
    headers = (("WWW-Authenticate", "Bearer"), ("www-authenticate", "Basic"), ("Retry-After", "3"), ("X-Trace", "1"))
    error = read_refusal(Response(429, headers, b""))
    assert error.headers == (("www-authenticate", "Bearer"), ("www-authenticate", "Basic"), ("retry-after", "3"))
    assert error.message == "The backend refused the request with 429. Try again later."


def test_the_first_rule_that_fits_counts() -> None:
    rules = [Rule(400, "thread_not_interrupted", "NOT in interrupted state"), Rule(400, "agent_not_found")]
    assert read_refusal(Response(400, (), b"Cannot resume: not in interrupted State"), rules).code == (
        "thread_not_interrupted"
    )
    assert read_refusal(Response(400, (), b"else"), rules).code == "agent_not_found"
    assert read_refusal(Response(422, (), b"else"), rules).code == "invalid_request"


@pytest.mark.parametrize("name", RAISES)
def test_a_rule_can_raise_what_it_names(name: str) -> None:
    error = read_refusal(Response(418, (), b"so."), [Rule(418, name)])
    assert error.code == name
    assert ": so. " in error.message


def test_a_server_error_tells_its_status() -> None:
    assert read_refusal(Response(503, (), b"down")).metadata == {"upstream_status": 503}


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b'{"detail":"a"}', "a"),
        (b'{"error":"unauthorized","message":"bad token","details":null}', "bad token"),
        (b'{"error":"a"}', "a"),
        (b'{"other":1}', '{"other":1}'),
        (b'{"detail":[{"loc":["body"]}]}', '[{"loc":["body"]}]'),
        (b"Traceback (most recent call last): secret", "(a stack trace, see the backend's own log)"),
        (b'"a"', "a"),
        (b"plain", "plain"),
        (b"null", "null"),
        (b"", ""),
        (b"x" * 600, "x" * 500),
    ],
)
def test_the_text_of_an_error_is_found_where_servers_put_it(body: bytes, text: str) -> None:
    assert error_text(Response(400, (), body)) == text


def test_a_refused_body_is_told_with_the_backends_own_words() -> None:
    error = read_refusal(Response(422, (), b'{"detail":"metadata: too long"}'))
    assert isinstance(error, InvalidRequest)
    assert error.message == (
        "The backend refused the body: metadata: too long. Change what it names, and send it again."
    )
