"""What a backend's answers mean."""

from __future__ import annotations

import re

import pytest

from ap_resume_shim.core.dialect_helpers import RAISES, Rule, error_text, read_lookup, read_refusal
from ap_resume_shim.core.errors import InvalidRequest, ResumeError, UpstreamUnrecognised
from ap_resume_shim.core.http import Response


def test_a_lookup_is_json() -> None:
    assert read_lookup(Response(200, (), b'{"a":1}')) == {"a": 1}
    assert read_lookup(Response(200, (), b"[]")) == []


@pytest.mark.parametrize("body", [b"<html>", b"", b'"text"', b"null"])
def test_a_lookup_that_is_something_else_is_unrecognised(body: bytes) -> None:
    with pytest.raises(UpstreamUnrecognised) as refused:
        read_lookup(Response(200, (), body))
    assert refused.value.metadata["upstream_status"] == 200
    assert refused.value.message.endswith("Check that `backend` names this kind of server.")


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
        (b"Traceback (most recent call last): secret", "(a stack trace: see the backend's own log)"),
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


REDIRECTS = [
    ("/threads/t/", "/threads/t/", "slash"),  # Django's APPEND_SLASH
    ("http://agents.internal:8000/threads/t/?next=hunter2", "/threads/t/", "slash"),
    ("https://agents.example/threads/t", "/threads/t", "prefix"),
    ("https://user:hunter2@agents.example/login#hunter2", "/login", "prefix"),
    ("https://agents.example", "/", "prefix"),
    ("http://[agents", "an invalid address", "prefix"),
]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(("location", "shown", "advice"), REDIRECTS)
def test_a_redirect_names_the_path_that_it_leads_to(status: int, location: str, shown: str, advice: str) -> None:
    error = read_refusal(Response(status, (("Location", location),), b"<html>"))
    assert (error.code, error.http_status) == ("upstream_unrecognised", 502)
    assert error.metadata == {"upstream_status": status, "location": shown}
    assert f"({status}) to {shown}, and the shim does not follow redirects." in error.message
    assert advice in error.message
    assert not re.search("agents|hunter2|user", error.message)


def test_the_log_has_the_whole_address_of_a_redirect_but_nothing_that_is_secret() -> None:
    told = [str(read_refusal(Response(302, (("location", location),)))) for location, _, _ in REDIRECTS]
    assert "to http://agents.internal:8000/threads/t/, and" in told[1]
    assert "to https://agents.example/login, and" in told[3]
    assert "hunter2" not in str(told)


def test_a_redirect_without_an_address_is_unrecognised() -> None:
    assert "does not know" in read_refusal(Response(302)).message
    assert "does not know" in read_refusal(Response(304, (("location", "/x"),))).message


@pytest.mark.parametrize("status", [400, 401, 404, 409, 413, 422, 429, 500])
def test_a_log_has_not_the_words_of_the_backend_which_may_repeat_the_answer(status: int) -> None:
    error = read_refusal(Response(status, (), b'{"detail":"hunter2 is no answer"}'))
    assert ("hunter2" in error.message, "hunter2" in error.reason) == (True, False)
    assert error.reason.endswith(".")
