"""An answer of 2xx to the resume that cannot be read is 502 on every backend in every mode, and nothing is guessed."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import replace
from functools import cache

import pytest

from ap_resume_shim.backends import backend_names
from ap_resume_shim.core.errors import UpstreamFailure
from ap_resume_shim.core.http import Headers, Response
from ap_resume_shim.core.protocol import Mode
from tests.backends.playing import Played, play, recorded_case

every_backend = pytest.mark.parametrize("backend", backend_names())
every_mode = pytest.mark.parametrize("mode", list(Mode), ids=lambda mode: mode.name.lower())

PAGE = b"<!doctype html><title>Sign in</title>"
LISTS = {"langgraph", "aegra"}
"""Servers whose result may be a list: a graph's state can be one."""


def typed(response: Response, media_type: str, body: bytes, **more: str) -> Response:
    headers = tuple((name, value) for name, value in response.headers if name != "content-type")
    return Response(200, (*headers, ("content-type", media_type), *more.items()), body)


def is_json(response: Response) -> bool:
    return not response.body.startswith((b"event:", b"data:", b"id:", b":")) and b"\x1e" not in response.body


def in_json(response: Response, body: bytes) -> Response:
    return typed(response, "application/json", body)


FAULTS: dict[str, Callable[[Response], Response | None]] = {
    "a login page": lambda answer: typed(answer, "text/html; charset=utf-8", PAGE),
    "a login page under the right head": lambda answer: replace(answer, body=PAGE) if is_json(answer) else None,
    "an image": lambda answer: typed(answer, "image/png", b"\x89PNG"),
    "gzip": lambda answer: replace(
        answer, headers=(*answer.headers, ("content-encoding", "gzip")), body=gzip.compress(answer.body)
    ),
    "an unknown coding": lambda answer: replace(answer, headers=(*answer.headers, ("Content-Encoding", "x-secret"))),
    "an empty body": lambda answer: replace(answer, body=b""),
    "white space": lambda answer: replace(answer, body=b"\n\n") if is_json(answer) else None,
    "no content": lambda answer: Response(204),
    "a list": lambda answer: in_json(answer, b"[]"),
    "text": lambda answer: in_json(answer, b'"accepted"'),
    "a number too large": lambda answer: in_json(answer, b'{"run_id": 1e400}'),
}


@cache
def sent_at_of(backend: str, mode: Mode) -> int | None:
    """The number of the answer to the resume."""
    return play(recorded_case(backend, mode), lambda _, answer: answer).sent_at


def played(backend: str, mode: Mode, name: str) -> Played:
    sent_at = sent_at_of(backend, mode)

    def change(number: int, answer: Response) -> Response:
        if number != sent_at:
            return answer
        changed = FAULTS[name](answer)
        if changed is None:
            pytest.skip("of JSON alone")
        return changed

    return play(recorded_case(backend, mode), change)


def answered_before_its_body(backend: str, mode: Mode) -> bool:
    """Whether the client is answered when the head has come, since the body is the result of a run that goes on."""
    dialect = recorded_case(backend, mode).dialect
    return mode is not Mode.WAIT and dialect.response_kinds[mode] == "result" and dialect.accepts_at_head


@pytest.mark.parametrize("name", FAULTS)
@every_mode
@every_backend
def test_an_unreadable_answer_is_502_and_the_resume_may_have_been_taken(backend: str, mode: Mode, name: str) -> None:
    if backend in LISTS and mode is Mode.WAIT and name in ("a list", "text"):
        pytest.skip("a result")
    told = played(backend, mode, name)
    assert isinstance(told.error, UpstreamFailure), (told.reply, told.stream)
    assert (told.refused.http_status, told.state, told.taken) == (502, "unknown", True)
    if not answered_before_its_body(backend, mode):
        assert (told.reply, told.stream) == (None, None)
    assert PAGE not in (told.stream or b"")


@every_mode
@every_backend
def test_json_that_is_cut_short_was_taken_where_the_head_proves_that(backend: str, mode: Mode) -> None:
    sent_at = sent_at_of(backend, mode)

    def cut(number: int, answer: Response) -> Response:
        if number != sent_at:
            return answer
        if not is_json(answer):
            pytest.skip("events")
        return replace(answer, body=answer.body[: len(answer.body) // 2])

    told = play(recorded_case(backend, mode), cut)
    state = "consumed" if recorded_case(backend, mode).dialect.accepts_at_head else "unknown"
    assert (told.refused.code, told.state, told.taken) == ("upstream_error", state, True)


@every_mode
@pytest.mark.parametrize(
    "body", [b'{"a": 1}', b"<html>\n\n</html>\n\n", b": nothing\n\n"], ids=["object", "page", "comment"]
)
@pytest.mark.parametrize(
    "backend", [name for name in backend_names() if recorded_case(name, Mode.WAIT).dialect.starts_runs]
)
def test_an_answer_that_names_no_run_is_not_taken_for_one_of_the_run_before(
    backend: str, mode: Mode, body: bytes
) -> None:
    """Nor do its bytes get into the client's stream."""
    sent_at = sent_at_of(backend, mode)
    assert sent_at is not None
    looks: list[Response] = []

    def change(number: int, answer: Response) -> Response:
        if number < sent_at:
            looks.append(answer)
            return answer
        if number > sent_at:  # the thread is as it was
            return looks[(number - sent_at - 1) % len(looks)]
        return replace(answer, headers=without_location(answer), body=body)

    told = play(recorded_case(backend, mode), change)
    assert (told.refused.http_status, told.state, told.taken) == (502, "unknown", True)
    assert body not in (told.stream or b"")


def without_location(answer: Response) -> Headers:
    return tuple(field for field in answer.headers if field[0].lower() != "content-location")
