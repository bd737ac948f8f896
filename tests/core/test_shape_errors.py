"""What a dialect raises while it reads an answer of another shape, and what it does not raise itself."""

from __future__ import annotations

from typing import Any

import pytest

from ap_resume_shim.core.dialect import Decision, Found, Lookup, Started
from ap_resume_shim.core.errors import ResumeError, ThreadNotFound, UpstreamUnrecognised
from ap_resume_shim.core.http import Request, Response
from ap_resume_shim.core.interrupt import Interrupt
from ap_resume_shim.core.protocol import Mode, Resume, parse
from ap_resume_shim.core.reframer import Ended, Reframer, Relay
from ap_resume_shim.core.shape_errors import recognising
from ap_resume_shim.core.steps import Ask, ReadUntilIdle, Steps
from tests.core.driving import Plain

RESUME = parse(b'{"thread_id": "t"}', Mode.WAIT, now="")
FOUND: Found[None] = Found("idle")
STARTED: Started[None] = Started("r")


class Slips(Plain):
    """Reads everything wrong."""

    def inspect_thread(self, resume: Resume, *, full: bool = True) -> Lookup[None]:
        answers: tuple[Any, ...] = yield from Ask((Request.get("thread"),))
        (answer,) = answers
        if answer == "unknown":
            raise ThreadNotFound("No.")
        found: Found[None] = Found(**answer) if isinstance(answer, dict) else answer["x"]
        return found

    def prepare(self, resume: Resume, found: Found[Any], verdict: Decision) -> Steps[Any]:
        return (yield from ReadUntilIdle(Request.get("log"), 1.0, lambda read: bool(read[7])))

    def refusal(self, response: Response) -> ResumeError:
        raise KeyError("code")

    def ended(self, body: bytes) -> Ended:
        raise IndexError

    def reframer(self, resume: Resume, started: Started[Any]) -> Reframer:
        return Reframes()


class Reframes(Relay):
    """A reframer that cannot read what it gets."""


class Unreads:
    between_events, over = True, False

    def feed(self, chunk: bytes) -> bytes:
        raise TypeError

    finish = ended = feed


def lookup(comes: Any) -> Any:
    steps = recognising(Slips()).inspect_thread(RESUME)
    next(steps)
    try:
        steps.throw(comes) if isinstance(comes, Exception) else steps.send((comes,))
    except StopIteration as ended:
        return ended.value
    raise AssertionError("a lookup of one step")


def test_a_slip_in_a_lookup_is_an_answer_that_is_not_recognised() -> None:
    with pytest.raises(UpstreamUnrecognised) as slip:
        lookup(None)
    assert isinstance(slip.value.__cause__, TypeError), "the operator's log has it"


def test_a_dialects_own_error_is_no_slip() -> None:
    with pytest.raises(ThreadNotFound):
        lookup("unknown")
    assert lookup({"status": "idle"}) == FOUND


def test_what_a_step_raises_is_no_slip() -> None:
    failure = ValueError("of an app in the same process")
    with pytest.raises(ValueError) as raised:
        lookup(failure)
    assert raised.value is failure


@pytest.mark.parametrize(
    "wrong",
    [
        {"run_id": 7},
        {"agent_id": []},
        {"updated_at": 1.5},
        {"run_id": "\ud800"},
        {"interrupts": (Interrupt("\udc00"),)},
    ],
)
def test_ids_and_times_are_text_that_can_be_sent(wrong: dict[str, Any]) -> None:
    with pytest.raises(UpstreamUnrecognised):
        lookup({"status": "idle", **wrong})


def test_a_dialect_is_wrapped_once_and_each_of_its_methods_too() -> None:
    dialect = recognising(Slips())
    assert recognising(dialect) is dialect
    assert dialect.ended is dialect.ended


def test_a_refusal_that_cannot_be_read_is_one_all_the_same() -> None:
    dialect = recognising(Slips())
    assert isinstance(dialect.refusal(Response(409)), UpstreamUnrecognised)
    assert dialect.name == "plain"
    with pytest.raises(UpstreamUnrecognised):
        dialect.ended(b"")


def test_what_judges_a_log_by_its_bytes_may_slip_too() -> None:
    step = next(recognising(Slips()).prepare(RESUME, FOUND, Any))  # type: ignore[arg-type]
    assert isinstance(step, ReadUntilIdle)
    with pytest.raises(UpstreamUnrecognised):
        step.enough(b"short")


def test_a_reframer_slips_like_its_dialect(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(recognising(Slips()).reframer(RESUME, STARTED), Relay), "what relays reads nothing"
    monkeypatch.setattr(Slips, "reframer", lambda *_: Unreads())
    reframer = recognising(Slips()).reframer(RESUME, STARTED)
    for method in (lambda: reframer.feed(b""), reframer.finish, reframer.ended):
        with pytest.raises(UpstreamUnrecognised):
            method()
    assert (reframer.between_events, reframer.over) == (True, False)
