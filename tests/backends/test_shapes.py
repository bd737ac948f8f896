"""Every value of every recorded answer, replaced by one of another JSON type: what comes out can be answered with.

The whole of it takes minutes: the suite plays a part, another one each time. `AP_TEST_SHAPES=1` plays the whole, and of
the recordings, in which the same answers recur, a twentieth.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from ap_resume_shim.backends import backend_names
from ap_resume_shim.core import strictjson
from ap_resume_shim.core.errors import ResumeError, UpstreamFailure
from ap_resume_shim.core.http import Response
from ap_resume_shim.core.protocol import Mode
from tests.backends.playing import Case, Played, play, recorded, recorded_case
from tests.recordings import BACKENDS as RECORDED
from tests.recordings import load_all

OTHERS: tuple[Any, ...] = (None, True, 7, 1.5, "\udc00", "x", [], ["x"], {}, {"x": 1})
SEED = random.randrange(2**32)
SHARE = float(os.environ.get("AP_TEST_SHAPES", "0.02"))


REHEARSALS = [recorded_case(backend, mode) for backend in backend_names() for mode in Mode]
RECORDINGS = [recorded(recording) for recording in load_all()]


@pytest.mark.parametrize("case", REHEARSALS, ids=str)
def test_an_answer_of_another_shape_is_an_error_that_tells_the_truth(case: Case) -> None:
    play_shapes(case, SHARE)


@pytest.mark.parametrize("backend", RECORDED)
def test_so_it_is_with_all_that_was_recorded(backend: str) -> None:
    for case in RECORDINGS:
        if case.name.startswith(f"{backend}/"):
            play_shapes(case, SHARE / 20)


def play_shapes(case: Case, share: float) -> None:
    """Play the case with a share of all other shapes of its answers."""
    answers: list[Response] = []

    def note(_: int, answer: Response) -> Response:
        answers.append(answer)
        return answer

    play(case, note)
    dice = random.Random(f"{SEED} {case}")
    for number, answer in enumerate(answers):
        for what, changed in shapes_of(answer):
            if dice.random() < share:
                check(play(case, in_place(number, changed)), f"{case}, answer {number}: {what} (seed {SEED})")


def in_place(wanted: int, changed: Response) -> Callable[[int, Response], Response]:
    return lambda number, answer: changed if number == wanted else answer


def check(told: Played, what: str) -> None:
    """Whether a resume ended well, or with an error of ours whose `resume_state` is what happened."""
    if told.error is None:
        return
    assert isinstance(told.error, ResumeError), f"{what}: {told.error!r}"
    if told.sent_at is None:
        states: set[Any] = {"not_sent"} if isinstance(told.error, UpstreamFailure) else {None, "not_sent"}
        assert (told.state in states, told.taken) == (True, None), what
    else:
        states = {None, "not_sent"} if told.taken is False else {"unknown", "consumed"}
        assert (told.state in states, told.taken in (True, False)) == (True, True), f"{what}: {told.error!r}"


def shapes_of(answer: Response) -> Iterator[tuple[str, Response]]:
    """The answer with one value after the other replaced: of JSON, or of the JSON of an event's data."""
    lines = [answer.body] if b"data:" not in answer.body else answer.body.splitlines(keepends=True)
    for at, line in enumerate(lines):
        start = line[: line.find(b":") + 1] if len(lines) > 1 else b""
        try:
            value = strictjson.read(line[len(start) :])
        except ValueError:
            continue
        for what, changed in replaced(value):
            body = start + b" " + strictjson.dumps(changed) + (b"\n" if len(lines) > 1 else b"")
            yield what, replace(answer, body=b"".join([*lines[:at], body, *lines[at + 1 :]]))


def replaced(value: Any, where: str = "") -> Iterator[tuple[str, Any]]:
    """The value with itself, or one that it holds, replaced; and where that is."""
    for other in OTHERS:
        if type(other) is not type(value):
            yield f"{where or '/'} = {other!r}", other
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        for what, changed in replaced(item, f"{where}/{key}"):
            copy = dict(value) if isinstance(value, dict) else list(value)
            copy[key] = changed
            yield what, copy
