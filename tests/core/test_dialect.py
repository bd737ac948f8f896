"""The plain dialect: what a backend need not say, and what it has to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ap_resume_shim.core.dialect import Continue, Dialect, Found, Started
from ap_resume_shim.core.errors import UpstreamError
from ap_resume_shim.core.http import Response
from ap_resume_shim.core.protocol import Mode, parse

PLAIN: Dialect[None] = Dialect()
RESUME = parse(b'{"thread_id": "t"}', Mode.STREAM, now="")
FOUND: Found[None] = Found("idle")
STARTED: Started[None] = Started("r1")


@pytest.mark.parametrize(
    "asked",
    [
        lambda: PLAIN.cancel(RESUME, STARTED),
        lambda: PLAIN.join(RESUME, STARTED),
        lambda: PLAIN.location(RESUME, STARTED),
        lambda: PLAIN.run(RESUME, STARTED),
        lambda: PLAIN.awaited(RESUME, STARTED),
        lambda: PLAIN.delete(RESUME),
        lambda: PLAIN.watch("POST", "/runs"),
        lambda: PLAIN.explain_unconsumed(FOUND, FOUND),
        lambda: PLAIN.check(RESUME, FOUND, Continue()),
    ],
)
def test_what_a_backend_need_not_have_is_nothing(asked: Callable[[], Any]) -> None:
    assert asked() is None


@pytest.mark.parametrize(
    "asked",
    [
        lambda: PLAIN.inspect_thread(RESUME),
        lambda: PLAIN.resume(RESUME, FOUND, Continue()),
        lambda: PLAIN.refusal(Response(400)),
        lambda: PLAIN.started(Response(200), b"", RESUME, FOUND),
        lambda: PLAIN.has_ended(Response(200)),
        lambda: PLAIN.ended(b""),
    ],
)
def test_what_a_backend_has_to_say_is_asked_for(asked: Callable[[], Any]) -> None:
    with pytest.raises(NotImplementedError):
        asked()


def test_a_thread_has_one_spelling_and_needs_no_preparation() -> None:
    assert PLAIN.thread_key("T") == "T"
    with pytest.raises(StopIteration) as ended:
        next(PLAIN.prepare(RESUME, FOUND, Continue()))
    assert ended.value.value == (FOUND, Continue())


def test_a_stream_that_begins_with_an_error_is_a_refusal_and_its_words_elsewhere_are_not() -> None:
    raw = b'event: error\ndata: "no"\n\n'
    assert isinstance(PLAIN.refused(RESUME, Response(200, (), raw)), UpstreamError)
    background = parse(b'{"thread_id": "t"}', Mode.BACKGROUND, now="")
    assert PLAIN.refused(background, Response(200, (), raw)) is None
    assert (PLAIN.begun(raw), PLAIN.begun(raw[:-1])) == (True, False)
