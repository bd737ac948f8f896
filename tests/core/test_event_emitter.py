"""The draft's events, in the modes that were asked for."""

from __future__ import annotations

from ap_resume_shim.core.event_emitter import Emitter
from ap_resume_shim.core.interrupt import Interrupt

ALL = Emitter(["values", "messages", "updates", "custom"])
NONE = Emitter([])
ASKED = [Interrupt("q", "sure?")]


def test_each_kind_has_its_mode() -> None:
    assert ALL.values({"a": 1}) == b'event: values\ndata: {"a":1}\n\n'
    assert ALL.message("assistant", "hi", id="m") == (
        b'event: messages\ndata: [{"role":"assistant","content":"hi"},{"id":"m"}]\n\n'
    )
    assert ALL.update("step", 1) == b'event: updates\ndata: {"step":1}\n\n'
    assert ALL.custom([]) == b"event: custom\ndata: []\n\n"


def test_what_was_not_asked_for_is_nothing() -> None:
    assert NONE.values(1) + NONE.message("a", "b") + NONE.update("s", 1) + NONE.custom(1) == b""
    assert NONE.interrupted(ASKED) == b""


def test_a_question_is_told_in_values_and_updates() -> None:
    told = b'data: {"__interrupt__":[{"id":"q","value":"sure?"}]}\n\n'
    assert ALL.interrupted(ASKED) == b"event: values\n" + told + b"event: updates\n" + told


def test_an_error_is_always_told() -> None:
    assert NONE.error({"m": "x"}) == b'event: error\ndata: {"m":"x"}\n\n'
