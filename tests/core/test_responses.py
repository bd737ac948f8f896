"""Modes that a backend lacks, made from what it has; and when the thread is let go."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from ap_resume_shim.core.dialect import DEFAULT_KINDS, Found, ResponseKind, Started
from ap_resume_shim.core.errors import ThreadBusy, ThreadNotFound, UpstreamTimeout
from ap_resume_shim.core.http import Request, Response
from ap_resume_shim.core.protocol import Mode, Resume
from ap_resume_shim.core.reframer import Ended, Relay
from tests.core.driving import (
    ASKS,
    ASKS_NEXT,
    BUSY,
    DONE,
    GONE,
    NAMED,
    NAMELESS,
    RUN_ENDED,
    RUN_GOES_ON,
    Plain,
    drive,
)

FIRST = b'event: x\ndata: {"run_id": "r1"}\n\n'
OFTEN = dict.fromkeys(Mode, "run")


def telling(what: ResponseKind, **habits: Any) -> Plain:
    """A backend that answers every resume in one way."""
    response_kinds: Mapping[Mode, ResponseKind] = dict.fromkeys(Mode, what)
    return Plain(response_kinds=response_kinds, **{"accepts_at_head": False, **habits})


class Heard(Relay):
    """A stream that tells how the run ended."""

    def ended(self) -> Ended:
        return Ended({"heard": True})


class Hearing(Plain):
    def reframer(self, resume: Resume, started: Started[Any]) -> Relay:
        return Heard()


# From the run


def test_a_wait_for_a_run_that_only_has_a_stream_drains_it() -> None:
    told = drive(Mode.WAIT, dialect=Hearing(response_kinds=dict.fromkeys(Mode, "run")))
    assert told.after_send == [
        "read body",
        "mark accepted",
        "join",
        "drain",
        "GET thread again",
        "mark idle",
        "send reply",
    ]
    assert told.value["values"] == {"heard": True}


def test_a_wait_for_a_run_without_a_stream_polls_it() -> None:
    comes = {"GET run r1": [RUN_GOES_ON, RUN_GOES_ON, RUN_ENDED]}
    told = drive(Mode.WAIT, comes, dialect=telling("run", can_join=False))
    polls = ["GET run r1", "poll 0.25", "GET run r1", "poll 0.25", "GET run r1"]
    assert told.after_send == ["read body", "mark accepted", *polls, "GET thread again", "mark idle", "send reply"]
    assert told.value["values"] == {"done": True}


def test_a_wait_for_a_run_whose_stream_is_refused_polls_it() -> None:
    told = drive(Mode.WAIT, {"join": Response(404)}, dialect=telling("run"))
    assert told.after_send[2:4] == ["join", "GET run r1"]


def test_a_wait_for_a_run_that_can_be_awaited_takes_its_result() -> None:
    class Awaited(Plain):
        def awaited(self, resume: Resume, started: Started[Any]) -> Request:
            return Request.get("result")

    comes = {"read body": [b'{"run_id": "r1"}', b'{"values": 1}']}
    told = drive(Mode.WAIT, comes, dialect=Awaited(response_kinds=dict.fromkeys(Mode, "run")))
    assert told.after_send == [
        "read body",
        "mark accepted",
        "join",
        "read body",
        "GET thread again",
        "mark idle",
        "send reply",
    ]
    assert told.value["values"] == {"value": 1}


def test_a_run_whose_result_is_refused_is_followed_by_its_stream() -> None:
    class Awaited(Plain):
        def awaited(self, resume: Resume, started: Started[Any]) -> Request:
            return Request.get("result")

    told = drive(
        Mode.WAIT, {"join": [Response(500), NAMED]}, dialect=Awaited(response_kinds=dict.fromkeys(Mode, "run"))
    )
    assert told.after_send[2:5] == ["join", "join", "drain"]


def test_a_thread_that_is_gone_while_its_run_is_followed_has_ended() -> None:
    class Bare(Plain):
        def run(self, resume: Resume, started: Started[Any]) -> None:
            return None

    comes = {"GET thread again": ThreadNotFound("gone")}
    told = drive(Mode.WAIT, comes, dialect=Bare(response_kinds=dict.fromkeys(Mode, "run"), can_join=False))
    assert told.value["run"]["status"] == "success"


def test_a_client_that_leaves_while_a_run_is_polled_cancels_it() -> None:
    comes = {"GET run r1": RUN_GOES_ON, "poll 0.25": GONE}
    told = drive(Mode.WAIT, comes, dialect=telling("run", can_join=False))
    assert (told.steps[-1], told.error) == ("POST cancel r1", GONE)


def test_a_stream_of_a_run_joins_its_own() -> None:
    told = drive(Mode.STREAM, dialect=telling("run"))
    assert told.after_send == ["read body", "mark accepted", "join", "read events", "send reply", "mark idle"]


def test_a_stream_of_a_run_without_one_is_made() -> None:
    told = drive(Mode.STREAM, dialect=telling("run", can_join=False))
    made = [
        "start stream",
        "send chunk event: metadata",
        "GET run r1",
        "GET thread again",
        "send chunk event: values",
        "end stream",
    ]
    assert told.after_send == ["read body", "mark accepted", *made, "mark idle"]


@pytest.mark.parametrize(
    ("after", "last"),
    [(ASKS_NEXT, "send chunk event: values"), (BUSY, "send chunk event: values")],
)
def test_a_stream_that_is_made_tells_the_next_question(after: Any, last: str) -> None:
    told = drive(Mode.STREAM, {"GET thread again": after}, dialect=telling("run", can_join=False))
    assert told.steps[-2 if told.steps[-1] == "mark idle" else -1] == "end stream"
    assert last in told.steps


def test_a_stream_that_is_made_tells_an_error() -> None:
    from dataclasses import replace

    failed = replace(DONE, status="error", error="boom")
    told = drive(Mode.STREAM, {"GET thread again": failed}, dialect=telling("run", can_join=False))
    assert "send chunk event: error" in told.steps


def test_a_stream_that_is_made_and_breaks_off_says_so() -> None:
    comes = {"GET run r1": RUN_GOES_ON, "poll 0.25": UpstreamTimeout("too long")}
    told = drive(Mode.STREAM, comes, dialect=telling("run", can_join=False))
    assert (told.steps[-1], told.code) == ("send chunk event: error", "upstream_timeout")


def test_a_client_that_leaves_a_stream_that_is_made_cancels_its_run() -> None:
    comes = {"GET run r1": RUN_GOES_ON, "poll 0.25": GONE}
    told = drive(Mode.STREAM, comes, dialect=telling("run", can_join=False))
    assert told.steps[-1] == "POST cancel r1"


# From the result


def test_a_result_is_read_before_the_resume_counts_as_taken() -> None:
    told = drive(Mode.WAIT, {"read body": b'{"run_id": "r1", "values": 1}'}, dialect=telling("result"))
    assert told.after_send == ["read body", "mark accepted", "GET thread again", "mark idle", "send reply"]
    assert told.value["values"] == {"value": 1}


def test_a_background_resume_made_from_a_result_answers_before_it_is_there() -> None:
    comes = {"send": None, "GET thread": [ASKS, BUSY], "read head": NAMED}
    told = drive(Mode.BACKGROUND, comes, dialect=telling("result"))
    assert told.after_send == [
        "mark accepted",
        "GET thread",
        "mark run id",
        "send reply",
        "read head",
        "read body",
        "mark idle",
    ]
    assert told.value["status"] == "pending"


def test_a_background_resume_made_from_a_result_that_is_there_at_once() -> None:
    told = drive(Mode.BACKGROUND, dialect=telling("result"))
    assert told.after_send == ["read body", "mark accepted", "send reply", "mark idle"]


def test_a_late_refusal_of_a_background_resume_is_an_error_behind_its_answer() -> None:
    comes = {"send": None, "GET thread": [ASKS, BUSY], "read head": Response(500)}
    told = drive(Mode.BACKGROUND, comes, dialect=telling("result"))
    assert told.steps[-1] == "read head"
    assert told.code == "upstream_error"


def test_a_stream_made_from_a_result_waits_for_it_between_its_events() -> None:
    comes = {"send": None, "GET thread": [ASKS, BUSY], "read head": NAMED, "read body": b'{"values": 1}'}
    told = drive(Mode.STREAM, comes, dialect=telling("result"))
    made = [
        "start stream",
        "send chunk event: metadata",
        "read head",
        "read body",
        "GET thread again",
        "send chunk event: values",
    ]
    assert told.after_send == ["mark accepted", "GET thread", "mark run id", *made, "end stream", "mark idle"]


# From events


def test_a_background_resume_made_from_events_answers_at_the_first_and_reads_the_rest() -> None:
    told = drive(Mode.BACKGROUND, {"read events": FIRST}, dialect=telling("events"))
    assert told.after_send == ["read events", "mark accepted", "send reply", "drain", "mark idle"]


def test_a_wait_made_from_events_drains_them() -> None:
    dialect = Hearing(response_kinds=dict.fromkeys(Mode, "events"))
    told = drive(Mode.WAIT, {"read events": FIRST}, dialect=dialect)
    assert told.after_send == ["read events", "mark accepted", "drain", "GET thread again", "mark idle", "send reply"]
    assert told.value["values"] == {"heard": True}


# Refusals inside of 2xx


class Refusing(Plain):
    def refused(self, resume: Resume, response: Response) -> ThreadBusy | None:
        return ThreadBusy("not now") if b"busy" in response.body else None


@pytest.mark.parametrize("what", ["run", "result", "events"])
@pytest.mark.parametrize("mode", list(Mode))
def test_a_refusal_inside_of_a_200_lets_the_thread_go(mode: Mode, what: ResponseKind) -> None:
    dialect = Refusing(response_kinds=dict.fromkeys(Mode, what), accepts_at_head=False)
    told = drive(mode, {"read body": b"busy", "read events": b"busy"}, dialect=dialect)
    assert (told.steps[-1], told.code, told.resume_state) == ("mark rejected", "thread_busy", "not_sent")


# When the thread is let go


@pytest.mark.parametrize("what", ["run", "events"])
def test_a_thread_is_held_until_its_question_is_gone(what: ResponseKind) -> None:
    comes = {"GET thread again": [ASKS, ASKS, ASKS_NEXT], "read events": FIRST}
    told = drive(Mode.BACKGROUND, comes, dialect=telling(what, acceptance_unproven=True))
    looks = ["GET thread again", "pause 0.1", "GET thread again", "pause 0.1", "GET thread again"]
    assert told.after_send[1:7] == [*looks, "mark accepted"]


def test_a_thread_is_held_until_it_is_busy() -> None:
    told = drive(Mode.BACKGROUND, {"GET thread again": BUSY}, dialect=telling("run", acceptance_unproven=True))
    assert told.after_send[1:3] == ["GET thread again", "mark accepted"]


def test_a_thread_that_goes_on_to_ask_the_same_is_let_go_in_the_end() -> None:
    told = drive(Mode.BACKGROUND, {"GET thread again": ASKS}, dialect=telling("run", acceptance_unproven=True))
    assert told.after_send.count("pause 0.1") == 10
    assert told.after_send[-2:] == ["mark accepted", "send reply"]


def test_a_step_that_is_retried_holds_its_thread_until_that_shows() -> None:
    failed: Found[None] = Found("error", answered=ASKS.interrupts, agent_id="agent")
    comes = {"GET thread": failed, "GET thread again": [failed, BUSY]}
    told = drive(Mode.BACKGROUND, comes, dialect=telling("run", acceptance_unproven=True), go_on=True)
    assert told.after_send[1:5] == ["GET thread again", "pause 0.1", "GET thread again", "mark accepted"]


def test_a_thread_that_cannot_be_read_is_let_go() -> None:
    comes = {"GET thread again": UpstreamTimeout("late")}
    told = drive(Mode.BACKGROUND, comes, dialect=telling("run", acceptance_unproven=True))
    assert told.after_send[1:3] == ["GET thread again", "mark accepted"]


def test_a_client_that_leaves_while_the_thread_is_held_leaves_it_accepted() -> None:
    comes = {"GET thread again": ASKS, "pause 0.1": GONE}
    told = drive(Mode.WAIT, comes, dialect=telling("run", acceptance_unproven=True))
    assert told.after_send[-2:] == ["mark accepted", "POST cancel r1"]


# What a backend need not have


def test_a_run_without_an_address_or_a_way_to_read_it_is_answered_all_the_same() -> None:
    class Bare(Plain):
        def run(self, resume: Resume, started: Started[Any]) -> None:
            return None

        def location(self, resume: Resume, started: Started[Any]) -> None:  # type: ignore[override]
            return None

    for mode in Mode:
        told = drive(
            mode, dialect=Bare(response_kinds=dict.fromkeys(Mode, "run"), can_join=False), on_completion="delete"
        )
        assert told.error is None
        assert "DELETE thread" in told.steps


def test_the_plain_dialect_has_all_three_modes() -> None:
    assert {Mode.BACKGROUND: "run", Mode.WAIT: "result", Mode.STREAM: "events"} == DEFAULT_KINDS
    assert NAMELESS.ok
