"""The resume flow, driven by hand: look, judge, hold, forward once, answer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ap_resume_shim.core import strictjson
from ap_resume_shim.core.dialect import Found, Started
from ap_resume_shim.core.errors import (
    HoldLapsed,
    NotFound,
    ResumeInProgress,
    ResumeNotConsumed,
    ShutDown,
    ShuttingDown,
    ThreadNotFound,
    UpstreamError,
    UpstreamRefused,
    UpstreamTimeout,
    UpstreamUnreachable,
    UpstreamUnrecognised,
)
from ap_resume_shim.core.http import Request, Response
from ap_resume_shim.core.interrupt import Interrupt
from ap_resume_shim.core.protocol import Mode, Resume
from ap_resume_shim.core.responses import REPLAYED, STREAM_HEADERS
from ap_resume_shim.core.steps import Reply, StreamReply
from ap_resume_shim.core.steps.guard import KeyRecord, UncommittedResume
from tests.core.driving import (
    ASKS,
    ASKS_NEXT,
    BUSY,
    DONE,
    GONE,
    NAMED,
    NAMELESS,
    NOW,
    REFUSED,
    RUN_ENDED,
    RUN_GOES_ON,
    USUAL,
    Plain,
    Transcript,
    drive,
    follow,
)

BACKGROUND, WAIT, STREAM = Mode
READS = {BACKGROUND: "read body", WAIT: "read body", STREAM: "read events"}
STILL_ASKS: Found[None] = Found("busy", ASKS.interrupts)

every_mode = pytest.mark.parametrize("mode", Mode, ids=lambda mode: mode.name.lower())


def stream_of(transcript: Transcript) -> StreamReply:
    assert isinstance(transcript.reply, StreamReply)
    return transcript.reply


# A resume that goes well


def test_a_background_resume_answers_at_once() -> None:
    transcript = drive(BACKGROUND)
    assert transcript.steps == ["GET thread", "mark idle", "claim", "send", "read body", "mark accepted", "send reply"]
    assert transcript.error is None


def test_a_wait_looks_at_the_thread_again_before_it_answers() -> None:
    transcript = drive(WAIT)
    assert transcript.after_send == ["mark accepted", "read body", "GET thread again", "mark idle", "send reply"]
    assert transcript.value["run"]["status"] == "success"


NEXT_QUESTION = {"values": {"a": 1}, "interrupts": [{"id": "q2", "value": "really?"}]}


def test_a_wait_whose_result_lists_the_next_question_needs_no_lookup_afterwards() -> None:
    done = drive(WAIT, {"read body": strictjson.dumps(NEXT_QUESTION), "remember": "q2"})
    assert done.after_send == ["mark accepted", "read body", "now", "mark idle", "remember", "send reply"]
    run = done.value["run"]
    assert (run["status"], run["metadata"]) == ("interrupted", {"interrupts": [{"id": "q2", "value": "really?"}]})
    assert (run["created_at"], run["updated_at"]) == (NOW, "2026-11-24T12:00:09+00:00")
    assert done.value["values"] == {"a": 1}


@pytest.mark.parametrize("lacks", [{"values": None}, {"interrupts": []}, {"error": {"error": "ValueError"}}])
def test_a_wait_whose_result_is_not_all_of_the_response_looks_up_the_thread(lacks: dict[str, Any]) -> None:
    done = drive(WAIT, {"read body": strictjson.dumps({**NEXT_QUESTION, **lacks})})
    assert done.after_send == ["mark accepted", "read body", "GET thread again", "mark idle", "send reply"]


def test_a_stream_is_answered_when_its_first_event_is_there() -> None:
    transcript = drive(STREAM)
    assert transcript.after_send == ["read events", "mark accepted", "send reply", "mark idle"]


def test_the_run_of_a_background_resume_is_what_the_backend_says_of_it() -> None:
    transcript = drive(BACKGROUND, {"send": NAMELESS}, metadata={"ticket": 1})
    assert transcript.value == {
        "run_id": "r1",
        "thread_id": "t",
        "agent_id": "agent",
        "status": "pending",
        "created_at": "2026-01-01T00:00:00Z",
        "updated_at": "2026-01-01T00:00:01Z",
        "metadata": {"ticket": 1},
    }


SAID = b'{"values": {"a": 1, "messages": [{"type": "ai", "content": "yes", "x": 1}]}}'


def test_a_wait_is_answered_with_run_and_values() -> None:
    transcript = drive(WAIT, {"read body": SAID}, metadata={"ticket": 1})
    assert transcript.value["run"]["metadata"] == {"ticket": 1}
    assert (transcript.value["run"]["created_at"], transcript.value["run"]["updated_at"]) == (NOW, "later")
    assert (transcript.value["values"], transcript.value["messages"]) == (
        {"a": 1},
        [{"role": "ai", "content": "yes", "x": 1}],
    )


def test_values_that_a_wait_leaves_out_are_read_from_the_thread() -> None:
    assert drive(WAIT, {"read body": b"{}"}).value["values"] == {"done": True}
    assert drive(WAIT, {"read body": b'{"values": {}}'}).value["values"] == {}


def test_the_answer_goes_out_with_the_run_that_it_names() -> None:
    transcript = drive(WAIT)
    assert transcript.reply is not None
    assert transcript.reply.headers == (("content-location", "/runs/r1"),)


def test_the_head_of_a_stream_keeps_proxies_from_holding_it() -> None:
    assert stream_of(drive(STREAM)).headers == (("content-location", "/runs/r1"), *STREAM_HEADERS)
    assert dict(STREAM_HEADERS)["cache-control"] == "no-store, no-transform"


@pytest.mark.parametrize("send", [NAMED, NAMELESS])
def test_a_stream_that_names_its_run_is_relayed_untouched(send: Response) -> None:
    events = b': beat\r\n\r\nevent: metadata\r\ndata: {"run_id": "r1", "attempt": 1}\r\n\r\nevent: val'
    reply = stream_of(drive(STREAM, {"send": send, "read events": events}))
    assert reply.reframer.feed(reply.head) == events
    assert reply.reframer.feed(b"ues\r\n") == b"ues\r\n"


OURS = b'event: metadata\ndata: {"run_id":"r1"}\n\n'


@pytest.mark.parametrize("events", [b"event: values\ndata: {}\n\n", b": beat\n\nevent: values\ndata: {}\n\nevent: val"])
def test_a_stream_that_does_not_name_its_run_gets_an_event_that_does(events: bytes) -> None:
    reply = stream_of(drive(STREAM, {"read events": events}))
    assert reply.reframer.feed(reply.head) == OURS + events
    assert reply.reframer.feed(b"more") == b"more"


@pytest.mark.parametrize("late", [b"event: metadata\ndata: {}\n\n", b"event: values\ndata: {}\n\n"])
def test_a_stream_that_is_late_is_named_once(late: bytes) -> None:
    reframer = stream_of(drive(STREAM, {"read events": b""})).reframer
    assert (reframer.feed(b""), reframer.between_events) == (b"", True)
    assert (reframer.feed(late[:9]), reframer.between_events) == (b"", True)
    assert reframer.feed(late[9:]) == (late if b"metadata" in late else OURS + late)


def test_a_stream_without_events_still_names_its_run() -> None:
    reply = stream_of(drive(STREAM, {"read events": b": beat\n\n"}))
    assert reply.reframer.feed(reply.head) + reply.reframer.finish() == OURS + b": beat\n\n"


def test_a_thread_that_stays_busy_with_an_accepted_resume_is_in_progress() -> None:
    transcript = drive(WAIT, {"GET thread": BUSY, "had run in flight": True})
    assert isinstance(transcript.error, ResumeInProgress)
    assert "send" not in transcript.steps


def test_the_first_event_is_waited_for_as_long_as_the_operator_says() -> None:
    assert drive(STREAM, stream_grace=0.5).grace == 0.5


def test_it_is_waited_for_as_long_as_for_any_answer_where_silence_tells_nothing() -> None:
    assert drive(STREAM, dialect=Plain(accept_after_silent_grace=False)).grace is None


@every_mode
def test_a_run_that_no_answer_names_is_the_newest_of_its_thread(mode: Mode) -> None:
    transcript = drive(mode, {"send": NAMELESS, READS[mode]: b"{}", "GET thread": [ASKS, BUSY]})
    assert transcript.steps.count("GET thread") == 2
    assert dict(transcript.reply.headers if transcript.reply else ())["content-location"] == "/runs/r1"


@every_mode
def test_a_run_that_nothing_names_is_502(mode: Mode) -> None:
    transcript = drive(mode, {"send": NAMELESS, READS[mode]: b"{}"})
    assert isinstance(transcript.error, UpstreamUnrecognised)
    assert transcript.resume_state == "consumed"


# How the run ended


@pytest.mark.parametrize(
    ("after", "status", "metadata"),
    [
        (DONE, "success", {}),
        (ASKS_NEXT, "interrupted", {"interrupts": [{"id": "q2", "value": "really?"}]}),
        (Found("interrupted", breakpoint=True), "interrupted", {"interrupts": []}),
        (Found("error", (Interrupt("q2"),)), "interrupted", {"interrupts": [{"id": "q2", "value": None}]}),
        (Found("error", error="boom"), "error", {"error": "boom"}),
        (Found("error"), "error", {}),
        (Found("idle", answered=ASKS.interrupts, error="boom"), "error", {"error": "boom"}),
    ],
)
def test_the_threads_state_tells_how_the_run_ended(after: Found[Any], status: str, metadata: dict[str, Any]) -> None:
    run = drive(WAIT, {"GET thread again": after}).value["run"]
    assert (run["status"], run["metadata"]) == (status, metadata)


@pytest.mark.parametrize("after", [DONE, ASKS_NEXT, Found("error", error="an older one")])
def test_an_agent_that_fails_is_a_run_with_an_error(after: Found[Any]) -> None:
    transcript = drive(WAIT, {"read body": b'{"error": {"error": "ValueError"}}', "GET thread again": after})
    assert transcript.error is None
    assert transcript.value["run"]["status"] == "error"
    assert transcript.value["run"]["metadata"] == {"error": {"error": "ValueError"}}


def test_a_thread_that_is_still_busy_after_the_wait_is_given_time_to_settle() -> None:
    transcript = drive(WAIT, {"GET thread again": [BUSY, BUSY, ASKS_NEXT]})
    assert transcript.steps.count("pause 0.1") == 2
    assert transcript.value["run"]["status"] == "interrupted"


def test_a_thread_that_somebody_else_keeps_busy_says_nothing_about_this_run() -> None:
    transcript = drive(WAIT, {"GET thread again": STILL_ASKS})
    assert transcript.value["run"]["status"] == "success"
    assert transcript.steps.count("pause 0.1") == 10
    assert "mark idle" not in transcript.after_send


def test_a_thread_that_is_gone_after_the_wait_was_deleted_on_completion() -> None:
    transcript = drive(WAIT, {"GET thread again": ThreadNotFound("Gone."), "read body": b'{"values": {"a": 1}}'})
    assert transcript.value["run"]["status"] == "success"
    assert transcript.value["values"] == {"a": 1}


# The verdict


@every_mode
def test_an_idle_thread_is_409(mode: Mode) -> None:
    transcript = drive(mode, {"GET thread": DONE})
    assert transcript.code == "thread_not_interrupted"
    assert transcript.steps == ["GET thread", "mark idle", "rival"]


@every_mode
def test_an_unknown_thread_is_404(mode: Mode) -> None:
    transcript = drive(mode, {"GET thread": ThreadNotFound("Unknown.")})
    assert isinstance(transcript.error, NotFound)
    assert transcript.steps == ["GET thread"]


def test_who_may_not_read_the_thread_never_holds_it() -> None:
    transcript = drive(WAIT, {"GET thread": UpstreamRefused(401, "No.")})
    assert transcript.code == "unauthorized"
    assert "claim" not in transcript.steps


def test_a_thread_that_stays_busy_is_409_after_the_settle_time() -> None:
    transcript = drive(WAIT, {"GET thread": BUSY})
    assert transcript.code == "thread_busy"
    assert transcript.steps.count("pause 0.1") == 10
    assert "claim" not in transcript.steps


def test_a_busy_thread_is_resumed_when_it_settles_at_the_question_that_it_showed() -> None:
    """Servers announce a question before they record it."""
    transcript = drive(WAIT, {"GET thread": [STILL_ASKS, STILL_ASKS, ASKS]})
    assert transcript.error is None
    assert transcript.steps[:6] == ["GET thread", "rival", "pause 0.1", "GET thread", "rival", "pause 0.1"]
    assert transcript.steps[6:10] == ["GET thread", "mark idle", "had run in flight", "claim"]


def test_a_busy_thread_that_showed_nothing_is_resumed_unless_a_resume_was_running() -> None:
    transcript = drive(WAIT, {"GET thread": [BUSY, ASKS]})
    assert transcript.error is None
    assert transcript.steps[3:7] == ["GET thread", "mark idle", "had run in flight", "claim"]


@pytest.mark.parametrize(
    ("arrived", "now", "unsettled"),
    [
        (STILL_ASKS, ASKS_NEXT, False),
        (STILL_ASKS, Found("interrupted", (*ASKS.interrupts, *ASKS_NEXT.interrupts)), False),
        (BUSY, ASKS_NEXT, True),
        (Found("busy", (Interrupt(None),)), Found("interrupted", (Interrupt(None),)), True),
    ],
)
def test_a_double_click_never_answers_a_question_that_was_asked_after_it(
    arrived: Found[Any], now: Found[Any], unsettled: bool
) -> None:
    answers = {"q1": 1} if len(now.interrupts) > 1 else "yes"
    transcript = drive(WAIT, {"GET thread": [arrived, now], "had run in flight": unsettled}, input=answers)
    assert transcript.code == "resume_in_progress"
    assert "claim" not in transcript.steps


def test_a_question_is_not_waited_for_at_a_thread_that_stops_at_a_breakpoint_instead() -> None:
    stopped: Found[None] = Found("interrupted", breakpoint=True)
    transcript = drive(WAIT, {"GET thread": [STILL_ASKS, stopped]}, go_on=True)
    assert transcript.code == "resume_in_progress"
    assert "claim" not in transcript.steps


def test_a_question_that_a_later_look_at_the_busy_thread_showed_was_not_asked_at_the_arrival() -> None:
    """What counts is the first look, not the last one before the thread came to rest."""
    looks = [replace(BUSY, interrupts=shown.interrupts) for shown in (ASKS, ASKS_NEXT)]
    transcript = drive(WAIT, {"GET thread": [*looks, ASKS_NEXT]})
    assert (transcript.code, "send" in transcript.steps) == ("resume_in_progress", False)


@pytest.mark.parametrize("first", [BUSY, DONE])
def test_a_resume_that_was_overtaken_is_told_so(first: Found[Any]) -> None:
    transcript = drive(WAIT, {"GET thread": first, "rival": "accepted"})
    assert transcript.code == "resume_in_progress"
    assert transcript.refused.message.endswith("Read the thread before you answer again.")


def test_a_resume_that_is_overtaken_while_it_polls_does_not_answer_the_next_question() -> None:
    transcript = drive(WAIT, {"GET thread": [BUSY, BUSY, ASKS_NEXT], "rival": [None, "accepted"]})
    assert transcript.code == "resume_in_progress"
    assert transcript.steps == ["GET thread", "rival", "pause 0.1", "GET thread", "rival"]


@every_mode
def test_a_claim_after_another_resume_was_accepted_is_refused_at_once(mode: Mode) -> None:
    transcript = drive(mode, {"claim": "accepted"})
    assert transcript.code == "resume_in_progress"
    assert transcript.steps[-1] == "claim"


@every_mode
def test_a_claim_that_meets_a_hold_waits_until_it_ends_and_looks_again(mode: Mode) -> None:
    transcript = drive(mode, {"claim": ["holding", None], "repeat claim 1": (None, 0.02)})
    assert transcript.error is None
    assert transcript.steps[2:7] == ["claim", "repeat claim 1", "GET thread", "mark idle", "claim"]


def test_a_thread_that_is_busy_when_its_hold_ends_is_released_and_given_time_to_settle() -> None:
    claims = {"claim": ["holding", None], "repeat claim 1": (None, 0.02)}
    transcript = drive(WAIT, {"GET thread": [ASKS, STILL_ASKS, ASKS], **claims})
    assert transcript.error is None
    assert transcript.steps[3:7] == ["repeat claim 1", "GET thread", "mark rejected", "rival"]


def test_a_claim_that_meets_a_hold_waits_no_longer_than_the_settle_time() -> None:
    transcript = drive(WAIT, {"claim": "holding", "repeat claim 1": ("holding", 0.9999999999)})
    assert transcript.code == "resume_in_progress"
    assert transcript.steps[2:] == ["claim", "repeat claim 1"]


def test_the_time_that_a_resume_waits_for_several_holds_and_a_busy_thread_adds_up() -> None:
    waits = {"repeat claim 1": (None, 0.7), "repeat claim 0.2": ("holding", 0.2)}
    looks = [ASKS, STILL_ASKS, ASKS]
    transcript = drive(WAIT, {"GET thread": looks, "claim": "holding", "rival": None, **waits})
    assert transcript.code == "resume_in_progress"
    assert transcript.steps[3:] == [
        *("repeat claim 1", "GET thread", "mark rejected", "rival", "pause 0.1", "GET thread"),
        *("mark idle", "claim", "repeat claim 0.2"),
    ]


def test_a_resume_that_waited_for_a_hold_whose_resume_was_accepted_is_refused_at_once() -> None:
    transcript = drive(WAIT, {"claim": "holding", "repeat claim 1": ("accepted", 0.02)})
    assert transcript.code == "resume_in_progress"
    assert transcript.steps[2:] == ["claim", "repeat claim 1"]


def test_a_question_that_came_while_a_resume_waited_for_a_hold_is_not_answered() -> None:
    transcript = drive(WAIT, {"GET thread": [ASKS, ASKS_NEXT], "claim": "holding", "repeat claim 1": (None, 0.02)})
    assert transcript.code == "resume_in_progress"
    assert transcript.steps[-2:] == ["mark rejected", "rival"]


MOVING = replace(ASKS, moving=True)


def test_a_look_that_saw_both_busy_and_a_question_lets_an_answer_pass_if_no_resume_is_running() -> None:
    assert drive(WAIT, {"GET thread": MOVING}).error is None
    assert drive(WAIT, {"GET thread": MOVING, "had run in flight": True}).code == "resume_in_progress"


@pytest.mark.parametrize("fields", [{"interrupt_id": "q1"}, {"input": {"q1": "yes"}}])
@pytest.mark.parametrize("first", [MOVING, STILL_ASKS, BUSY])
def test_an_answer_that_names_its_question_passes_though_a_resume_is_running(
    first: Found[Any], fields: dict[str, Any]
) -> None:
    assert drive(WAIT, {"GET thread": [first, ASKS], "had run in flight": True}, **fields).error is None


def test_an_unnamed_answer_to_a_busy_thread_is_refused_while_a_resume_is_running() -> None:
    transcript = drive(WAIT, {"GET thread": [STILL_ASKS, ASKS], "had run in flight": True})
    assert transcript.code == "resume_in_progress"


# Keyed answers


@pytest.mark.parametrize(
    "known", [{"known ids": frozenset({"q0"})}, {"GET thread": replace(ASKS, past_ids=frozenset({"q0"}))}]
)
def test_a_keyed_answer_to_a_question_of_the_past_is_refused(known: dict[str, Any]) -> None:
    transcript = drive(WAIT, known, input={"q0": "yes"})
    assert transcript.code == "interrupt_not_pending"
    assert transcript.refused.metadata["interrupts"] == [{"id": "q1", "value": "sure?"}]
    assert "claim" not in transcript.steps


# Late commits


UNCOMMITTED = UncommittedResume(frozenset({"q1"}), 1.0)


def test_a_thread_that_still_shows_an_answered_question_counts_as_busy() -> None:
    transcript = drive(WAIT, {"uncommitted": UNCOMMITTED, "had run in flight": True}, dialect=Plain(commit="late"))
    assert transcript.code == "resume_in_progress"
    assert "mark idle" not in transcript.steps


def test_a_question_that_was_answered_too_long_ago_is_pending_again() -> None:
    long_ago = replace(UNCOMMITTED, age=30.0)
    assert drive(WAIT, {"uncommitted": long_ago}, dialect=Plain(commit="late")).error is None


def test_another_question_than_the_one_answered_is_pending() -> None:
    transcript = drive(WAIT, {"uncommitted": UNCOMMITTED, "GET thread": ASKS_NEXT}, dialect=Plain(commit="late"))
    assert transcript.error is None


def commit_of(comes: list[Found[None] | Exception], found: Found[Any] = ASKS, **fields: Any) -> list[str]:
    """The steps of the lookups that end when the state shows the resume."""
    dialect = Plain(commit="late")
    transcript = drive(BACKGROUND, {"GET thread": found}, dialect=dialect, **fields)
    assert transcript.commit is not None
    return follow(transcript.commit, {**USUAL, "GET thread again": comes}).steps


@pytest.mark.parametrize("shown", [BUSY, DONE, ASKS_NEXT, NotFound("Gone.")])
def test_a_late_commit_is_looked_for_until_the_state_shows_the_resume(shown: Found[Any] | Exception) -> None:
    looks = commit_of([ASKS, UpstreamError("Away."), ASKS, shown])
    assert looks.count("GET thread again") == 4
    assert looks[1:6:2] == ["pause 0.1", "pause 0.15", "pause 0.225"]


def test_one_of_two_answers_is_committed_though_the_other_question_stays() -> None:
    both: Found[None] = Found("interrupted", (*ASKS.interrupts, *ASKS_NEXT.interrupts))
    assert commit_of([both, ASKS_NEXT], found=both, input={"q1": "yes"}).count("GET thread again") == 2


def test_going_on_from_a_breakpoint_is_committed_when_the_thread_has_left_it() -> None:
    stopped: Found[None] = Found("interrupted", breakpoint=True)
    assert commit_of([stopped, DONE], found=stopped, go_on=True).count("GET thread again") == 2


def test_a_nameless_question_asked_again_is_committed_when_the_new_run_has_ended() -> None:
    nameless: Found[None] = Found("interrupted", (Interrupt(None, "sure?"),), agent_id="agent")
    assert commit_of([nameless], found=nameless) == ["GET thread again", "GET run r1"]


def test_a_nameless_question_is_committed_when_it_is_gone_where_no_run_can_be_read() -> None:
    class Unreadable(Plain):
        def run(self, resume: Resume, started: Started[Any]) -> Request | None:
            return None

    nameless: Found[None] = Found("interrupted", (Interrupt(None, "sure?"),), agent_id="agent")
    transcript = drive(BACKGROUND, {"GET thread": nameless}, dialect=Unreadable(commit="late"))
    assert transcript.commit is not None
    looks = follow(transcript.commit, {**USUAL, "GET thread again": [nameless, BUSY]}).steps
    assert looks == ["GET thread again", "pause 0.1", "GET thread again"]


def test_a_commit_that_comes_with_the_answer_is_not_looked_for() -> None:
    assert drive(BACKGROUND).commit is None


def test_going_on_from_a_breakpoint_sends_no_answer() -> None:
    transcript = drive(WAIT, {"GET thread": Found("interrupted", breakpoint=True)}, go_on=True)
    assert transcript.request is not None
    assert transcript.request.json["verdict"] == "Continue()"


def test_what_the_backend_cannot_carry_is_refused_before_the_thread_is_held() -> None:
    transcript = drive(WAIT, dialect=Plain(refuses=REFUSED))
    assert transcript.error is REFUSED
    assert transcript.steps == ["GET thread", "mark idle"]


def test_a_thread_is_armed_while_it_is_held() -> None:
    transcript = drive(WAIT, dialect=Plain(armed=False))
    assert transcript.steps[2:5] == ["claim", "POST arm", "send"]


# What the backend cannot honour


def test_input_and_messages_are_two_answers() -> None:
    messages = [{"role": "user", "content": "no"}]
    transcript = drive(WAIT, messages=messages)
    assert (transcript.code, transcript.steps) == ("invalid_request", [])
    assert drive(WAIT, messages=messages, dialect=Plain(carries_both=True)).error is None


def test_a_field_that_the_shim_sets_itself_is_refused() -> None:
    transcript = drive(
        WAIT, dialect=Plain(reserved=frozenset({"checkpoint", "assistant_id"})), checkpoint=1, assistant_id="x"
    )
    assert transcript.code == "unsupported_field"
    assert transcript.refused.metadata == {"field": "assistant_id"}


@every_mode
def test_a_field_that_the_backend_cannot_honour_is_refused_by_name(mode: Mode) -> None:
    transcript = drive(mode, dialect=Plain(unsupported=frozenset({"webhook"})), webhook="http://hook")
    assert (transcript.code, transcript.refused.metadata) == ("unsupported_field", {"field": "webhook"})
    assert transcript.steps == []


@every_mode
def test_lenient_drops_the_field_and_names_it(mode: Mode) -> None:
    unsupported = frozenset({"webhook", "metadata", "on_completion"})
    transcript = drive(
        mode,
        dialect=Plain(unsupported=unsupported),
        lenient=True,
        webhook="http://hook",
        metadata={"a": 1},
        on_completion="delete",
    )
    assert transcript.reply is not None
    assert dict(transcript.reply.headers)["ap-resume-ignored"] == "metadata, on_completion, webhook"
    assert "DELETE thread" not in transcript.steps


@every_mode
def test_unknown_fields_that_the_backend_does_not_get_are_named(mode: Mode) -> None:
    transcript = drive(
        mode, dialect=Plain(forwards_extra=False, vocabulary=frozenset({"known"})), known=1, x_one=1, x_two=2
    )
    assert transcript.reply is not None
    assert dict(transcript.reply.headers)["ap-resume-ignored"] == "x_one, x_two"


def test_what_lenient_drops_does_not_reach_the_backend() -> None:
    transcript = drive(WAIT, dialect=Plain(unsupported=frozenset({"webhook"})), lenient=True, webhook="http://hook")
    assert transcript.request is not None
    assert transcript.request.json["webhook"] is None


def test_a_default_asks_for_nothing_that_could_not_be_honoured() -> None:
    transcript = drive(STREAM, dialect=Plain(unsupported=frozenset({"on_completion", "stream_mode", "webhook"})))
    assert transcript.error is None
    assert transcript.reply is not None
    assert "ap-resume-ignored" not in dict(transcript.reply.headers)


# Failures at the moment of sending


@every_mode
def test_no_connection_means_that_nothing_was_sent(mode: Mode) -> None:
    transcript = drive(mode, {"send": UpstreamUnreachable("No connection.")})
    assert (transcript.code, transcript.resume_state) == ("upstream_unreachable", "not_sent")
    assert transcript.after_send == ["pause 0.2", "send", "mark rejected"]


@every_mode
def test_a_connection_that_is_there_a_moment_later_is_used(mode: Mode) -> None:
    transcript = drive(mode, {"send": [UpstreamUnreachable("No connection."), NAMED]})
    assert transcript.error is None
    assert transcript.after_send[:2] == ["pause 0.2", "send"]


@pytest.mark.parametrize("mode", [WAIT, STREAM])
def test_a_client_that_leaves_before_the_second_try_is_not_resumed_for(mode: Mode) -> None:
    transcript = drive(mode, {"send": UpstreamUnreachable("No connection."), "pause 0.2": GONE})
    assert (transcript.code, transcript.resume_state) == ("upstream_unreachable", "not_sent")
    assert transcript.after_send == ["pause 0.2", "mark rejected"]


@every_mode
def test_a_hold_that_lapsed_means_that_nothing_was_sent(mode: Mode) -> None:
    transcript = drive(mode, {"send": HoldLapsed("Too late.")})
    assert (transcript.code, transcript.resume_state) == ("resume_in_progress", "not_sent")
    assert transcript.after_send == ["mark rejected"]


@every_mode
@pytest.mark.parametrize("failure", [UpstreamTimeout, UpstreamError, UpstreamUnrecognised])
def test_a_failure_while_sending_leaves_the_resume_unknown(mode: Mode, failure: type[UpstreamError]) -> None:
    """It may have been taken: whoever arrived before is refused."""
    transcript = drive(mode, {"send": failure("It broke.")})
    assert (transcript.code, transcript.resume_state) == (failure.code, "unknown")
    assert transcript.after_send == ["mark accepted"]


@every_mode
def test_an_app_that_raises_may_have_taken_the_resume(mode: Mode) -> None:
    transcript = drive(mode, {"send": ZeroDivisionError()})
    assert isinstance(transcript.error, ZeroDivisionError)
    assert transcript.after_send == ["mark accepted"]


@every_mode
@pytest.mark.parametrize("status", [500, 503, 307])
def test_a_backend_that_fails_leaves_the_resume_unknown(mode: Mode, status: int) -> None:
    transcript = drive(mode, {"send": Response(status, (), b"oops")})
    assert (transcript.refused.http_status, transcript.resume_state) == (502, "unknown")
    assert transcript.after_send == ["mark accepted"]


@every_mode
@pytest.mark.parametrize(
    ("status", "answered_with", "code"),
    [
        (400, 422, "invalid_request"),
        (401, 401, "unauthorized"),
        (403, 403, "forbidden"),
        (404, 404, "thread_not_found"),
        (409, 409, "thread_busy"),
        (413, 413, "request_too_large"),
        (422, 422, "invalid_request"),
        (429, 429, "rate_limited"),
    ],
)
def test_a_refusal_of_the_backend_lets_the_thread_go(mode: Mode, status: int, answered_with: int, code: str) -> None:
    transcript = drive(mode, {"send": Response(status, (), b"no")})
    assert (transcript.refused.http_status, transcript.code) == (answered_with, code)
    assert transcript.after_send == ["mark rejected"]


# Failures after it


@pytest.mark.parametrize("mode", [BACKGROUND, STREAM])
@pytest.mark.parametrize("failure", [UpstreamError("It broke off."), ZeroDivisionError()])
def test_an_answer_that_breaks_off_before_it_tells_has_been_accepted(mode: Mode, failure: Exception) -> None:
    transcript = drive(mode, {READS[mode]: failure})
    assert transcript.error is failure
    assert transcript.after_send == [READS[mode], "mark accepted"]


@every_mode
def test_an_answer_that_breaks_off_leaves_the_resume_consumed(mode: Mode) -> None:
    transcript = drive(mode, {READS[mode]: UpstreamError("It broke off.")})
    assert (transcript.code, transcript.resume_state) == ("upstream_error", "consumed")
    assert transcript.refused.message.endswith("The backend accepted the answer: read the thread for the result.")


@every_mode
@pytest.mark.parametrize("step", ["GET thread", "claim", "send"])
def test_a_process_that_ends_before_the_resume_is_sent_lets_the_thread_go(mode: Mode, step: str) -> None:
    transcript = drive(mode, {step: ShuttingDown()})
    assert (transcript.refused.http_status, transcript.code, transcript.resume_state) == (
        503,
        "shutting_down",
        "not_sent",
    )
    assert transcript.refused.headers == (("retry-after", "1"),)
    assert transcript.after_send == (["mark rejected"] if step == "send" else [])


@every_mode
def test_a_process_that_ends_after_the_resume_was_sent_says_what_became_of_it(mode: Mode) -> None:
    unknown, consumed = drive(mode, {"send": ShutDown()}), drive(mode, {READS[mode]: ShutDown()})
    assert (unknown.refused.http_status, unknown.code, unknown.resume_state) == (504, "shutting_down", "unknown")
    assert unknown.after_send == ["mark accepted"]
    assert (consumed.refused.http_status, consumed.resume_state) == (504, "consumed")
    assert consumed.refused.headers == ()


@pytest.mark.parametrize("failure", [UpstreamTimeout("Late."), UpstreamRefused(429, "Later.")])
def test_a_thread_that_cannot_be_read_after_the_wait_leaves_the_resume_consumed(failure: Exception) -> None:
    transcript = drive(WAIT, {"GET thread again": failure})
    assert transcript.error is failure
    assert transcript.resume_state == "consumed"


def test_a_run_that_cannot_be_found_leaves_the_resume_consumed() -> None:
    transcript = drive(
        BACKGROUND, {"send": NAMELESS, "read body": b"{}", "GET thread": [ASKS, UpstreamTimeout("Late.")]}
    )
    assert (transcript.code, transcript.resume_state) == ("upstream_timeout", "consumed")


def test_a_stream_whose_first_event_is_an_error_is_502_before_the_status_line_went_out() -> None:
    transcript = drive(STREAM, {"read events": b'event: error\ndata: {"error": "RunError"}\n\n'})
    assert (transcript.code, transcript.resume_state) == ("upstream_error", "unknown")
    assert transcript.refused.metadata["upstream"] == {"error": "RunError"}
    assert transcript.after_send == ["read events", "mark accepted"]


def test_an_error_behind_the_first_event_is_the_agents() -> None:
    events = b'event: metadata\ndata: {"run_id": "r1"}\n\nevent: error\ndata: {}\n\n'
    assert stream_of(drive(STREAM, {"read events": events})).head == events


# A client that leaves


@every_mode
def test_a_client_that_leaves_before_the_resume_was_sent_has_asked_for_nothing(mode: Mode) -> None:
    transcript = drive(mode, {"GET thread": BUSY, "pause 0.1": GONE})
    assert transcript.error is GONE
    assert transcript.steps == ["GET thread", "rival", "pause 0.1"]


@pytest.mark.parametrize("mode", [WAIT, STREAM])
def test_a_client_that_leaves_while_sending_cancels_the_newest_run_of_the_thread(mode: Mode) -> None:
    transcript = drive(mode, {"send": GONE, "GET thread": [ASKS, BUSY]})
    assert transcript.error is GONE
    assert transcript.after_send == ["GET thread", "rival", "POST cancel r1", "mark accepted"]


@pytest.mark.parametrize("mode", [WAIT, STREAM])
def test_a_cancellation_that_fails_leaves_the_resume_unknown(mode: Mode) -> None:
    transcript = drive(mode, {"send": GONE, "GET thread": [ASKS, UpstreamTimeout("Late.")]})
    assert (transcript.code, transcript.resume_state) == ("upstream_timeout", "unknown")
    assert transcript.after_send == ["GET thread", "mark accepted"]


@pytest.mark.parametrize(("mode", "step"), [(WAIT, "send"), (WAIT, "read body"), (STREAM, "read events")])
def test_the_run_of_another_is_never_cancelled(mode: Mode, step: str) -> None:
    transcript = drive(mode, {"send": NAMELESS, step: GONE, "GET thread": [ASKS, BUSY], "rival": "accepted"})
    assert not [step for step in transcript.steps if "cancel" in step]


@pytest.mark.parametrize("after", [DONE, ASKS, Found("busy")])
def test_nothing_is_cancelled_where_nothing_runs_or_it_has_no_name(after: Found[Any]) -> None:
    transcript = drive(WAIT, {"send": GONE, "GET thread": [ASKS, after]})
    assert transcript.error is GONE
    assert transcript.after_send[:1] + transcript.after_send[-1:] == ["GET thread", "mark accepted"]
    assert not [step for step in transcript.steps if "cancel" in step]


def test_a_client_that_leaves_a_wait_cancels_the_run() -> None:
    transcript = drive(WAIT, {"read body": GONE})
    assert transcript.error is GONE
    assert transcript.after_send == ["mark accepted", "read body", "POST cancel r1"]
    assert transcript.once == ["POST cancel r1"]


def test_a_client_that_leaves_a_wait_whose_run_is_not_named_yet_cancels_the_newest() -> None:
    transcript = drive(WAIT, {"send": NAMELESS, "read body": GONE, "GET thread": [ASKS, BUSY]})
    assert transcript.after_send == ["mark accepted", "read body", "GET thread", "rival", "POST cancel r1"]


@pytest.mark.parametrize("step", ["read events", "send reply"])
def test_a_client_that_leaves_a_stream_cancels_the_run(step: str) -> None:
    transcript = drive(STREAM, {step: GONE})
    assert transcript.error is GONE
    assert transcript.after_send[-1] == "POST cancel r1"
    assert transcript.after_send.count("mark accepted") == 1


def test_a_client_that_leaves_a_stream_before_its_run_is_named_cancels_the_newest() -> None:
    transcript = drive(STREAM, {"send": NAMELESS, "read events": GONE, "GET thread": [ASKS, BUSY]})
    assert transcript.after_send == ["read events", "mark accepted", "GET thread", "rival", "POST cancel r1"]


def test_a_backend_that_cannot_cancel_is_left_alone() -> None:
    transcript = drive(WAIT, {"read body": GONE}, dialect=Plain(can_cancel=False))
    assert transcript.error is GONE
    assert transcript.after_send == ["mark accepted", "read body"]


# on_completion: delete


@every_mode
def test_the_thread_is_kept_unless_it_is_to_be_deleted(mode: Mode) -> None:
    assert "DELETE thread" not in drive(mode, on_completion="keep").steps


@pytest.mark.parametrize(
    ("mode", "then"),
    [
        (BACKGROUND, ["send reply", "GET run r1", "GET thread again", "DELETE thread"]),
        (WAIT, ["send reply", "GET run r1", "GET thread again", "DELETE thread"]),
        (STREAM, ["send reply", "mark idle", "GET run r1", "GET thread again", "DELETE thread"]),
    ],
)
def test_on_completion_delete_deletes_the_thread_after_the_run(mode: Mode, then: list[str]) -> None:
    transcript = drive(mode, on_completion="delete")
    assert transcript.error is None
    assert transcript.steps[-len(then) :] == then


@every_mode
def test_a_thread_that_cannot_be_deleted_is_an_error_after_the_answer(mode: Mode) -> None:
    transcript = drive(mode, {"DELETE thread": [Response(503)]}, on_completion="delete")
    assert "send reply" in transcript.steps
    assert isinstance(transcript.error, UpstreamError)


@every_mode
def test_the_thread_is_deleted_when_the_run_has_ended_and_not_before(mode: Mode) -> None:
    transcript = drive(mode, {"GET run r1": [RUN_GOES_ON, RUN_GOES_ON, RUN_ENDED]}, on_completion="delete")
    assert transcript.steps.count("pause 1") == 2
    assert transcript.steps.count("DELETE thread") == 1
    assert transcript.once == ["DELETE thread"]


def test_a_run_that_cannot_be_read_any_more_has_ended() -> None:
    transcript = drive(BACKGROUND, {"GET run r1": Response(404)}, on_completion="delete")
    assert transcript.steps[-1] == "DELETE thread"


@every_mode
@pytest.mark.parametrize(
    "after",
    [ASKS_NEXT, BUSY, Found("interrupted", breakpoint=True), Found("error", answered=ASKS.interrupts)],
)
def test_a_thread_that_asks_again_is_spared(mode: Mode, after: Found[Any]) -> None:
    transcript = drive(mode, {"GET thread again": after}, on_completion="delete")
    assert transcript.error is None
    assert "DELETE thread" not in transcript.steps


def test_a_thread_that_failed_for_good_is_deleted() -> None:
    transcript = drive(WAIT, {"GET thread again": Found("error", error="boom")}, on_completion="delete")
    assert "DELETE thread" in transcript.steps


def test_a_backend_that_cannot_delete_keeps_its_threads() -> None:
    transcript = drive(BACKGROUND, dialect=Plain(can_delete=False), on_completion="delete")
    assert transcript.error is None
    assert transcript.steps[-1] == "send reply"


# Asking twice

FIRST = drive(BACKGROUND).fingerprint
ANSWERED = KeyRecord(FIRST, live=False, accepted=True, run_id="r1", reply=Reply(200, {"run_id": "r1"}, (("a", "b"),)))


@every_mode
def test_a_retry_gets_the_first_answer_and_the_agent_hears_nothing(mode: Mode) -> None:
    transcript = drive(mode, {"recall": ANSWERED})
    assert transcript.steps == ["GET thread", "recall", "send reply"]
    assert transcript.reply == Reply(200, {"run_id": "r1"}, (("a", "b"), ("idempotency-replayed", "true")))


@every_mode
@pytest.mark.parametrize("error", [ThreadNotFound("No such thread."), UpstreamRefused(403, "No.")])
def test_nothing_is_recalled_for_who_may_not_read_the_thread(mode: Mode, error: Exception) -> None:
    transcript = drive(mode, {"GET thread": error, "recall": ANSWERED})
    assert (transcript.steps, transcript.error) == (["GET thread"], error)


@every_mode
def test_a_key_that_came_with_another_body_is_refused(mode: Mode) -> None:
    transcript = drive(mode, {"recall": replace(ANSWERED, fingerprint="another")})
    assert (transcript.code, transcript.refused.http_status) == ("idempotency_key_reused", 422)
    assert transcript.steps == ["GET thread", "recall"]


@every_mode
def test_a_retry_while_the_first_is_under_way_comes_too_early(mode: Mode) -> None:
    transcript = drive(mode, {"recall": KeyRecord(FIRST, live=True)})
    assert (transcript.code, transcript.refused.headers) == ("resume_in_progress", (("retry-after", "1"),))


@pytest.mark.parametrize(
    ("kept", "metadata"),
    [
        (KeyRecord(FIRST, live=False), {"resume_state": "unknown"}),
        (KeyRecord(FIRST, live=False, accepted=True), {"resume_state": "unknown"}),
        (KeyRecord(FIRST, live=False, accepted=True, run_id="r1"), {"run_id": "r1", "resume_state": "consumed"}),
    ],
)
@pytest.mark.parametrize("mode", [BACKGROUND, WAIT])
def test_an_answer_that_was_lost_is_never_made_up_for(mode: Mode, kept: KeyRecord, metadata: dict[str, str]) -> None:
    transcript = drive(mode, {"recall": kept})
    assert (transcript.code, transcript.refused.headers, transcript.refused.metadata) == (
        "resume_in_progress",
        (),
        metadata,
    )
    assert "send" not in transcript.steps


STREAMED = KeyRecord(FIRST, live=True, accepted=True, run_id="r1")


def test_a_stream_is_joined_again_while_its_run_goes_on() -> None:
    transcript = drive(STREAM, {"recall": STREAMED, "GET run r1": RUN_GOES_ON})
    assert transcript.steps == ["GET thread", "recall", "GET run r1", "join", "read events", "send reply"]
    assert transcript.request is not None and transcript.request.target == "stream r1"
    assert stream_of(transcript).headers == (("content-location", "/runs/r1"), *STREAM_HEADERS, REPLAYED)


@pytest.mark.parametrize(
    "comes",
    [
        {"GET run r1": RUN_ENDED},
        {"GET run r1": Response(404)},
        {"GET run r1": RUN_GOES_ON, "join": Response(404)},
    ],
)
def test_a_stream_that_cannot_be_joined_is_answered_with_its_run(comes: dict[str, Any]) -> None:
    transcript = drive(STREAM, {"recall": replace(STREAMED, live=False), **comes})
    assert (transcript.code, transcript.refused.metadata["run_id"]) == ("resume_in_progress", "r1")


def test_a_backend_that_cannot_join_is_not_asked() -> None:
    transcript = drive(STREAM, {"recall": STREAMED}, dialect=Plain(can_join=False))
    assert (transcript.steps, transcript.code) == (["GET thread", "recall"], "resume_in_progress")


@pytest.mark.parametrize("step", ["read events", "send reply"])
def test_who_leaves_a_joined_stream_cancels_its_run_as_who_left_the_first(step: str) -> None:
    transcript = drive(STREAM, {"recall": STREAMED, "GET run r1": RUN_GOES_ON, step: GONE})
    assert transcript.steps[-1] == "POST cancel r1"


@every_mode
def test_a_repeat_within_the_window_is_refused(mode: Mode) -> None:
    transcript = drive(mode, {"repeated": True})
    assert (transcript.code, transcript.steps) == ("resume_in_progress", ["GET thread", "repeated"])


@pytest.mark.parametrize(
    ("mode", "comes"),
    [(BACKGROUND, {}), (WAIT, {}), (STREAM, {}), (STREAM, {"send": NAMELESS}), (BACKGROUND, {"send": NAMELESS})],
)
def test_an_acceptance_names_the_run_as_soon_as_it_is_known(mode: Mode, comes: dict[str, Any]) -> None:
    assert drive(mode, comes).run_id == "r1"


LATE: Found[None] = Found("interrupted", ASKS.interrupts, run_id="r1")


def test_a_thread_that_shows_a_resume_late_is_held_until_it_does() -> None:
    transcript = drive(BACKGROUND, {"GET thread again": [LATE, LATE, BUSY]}, dialect=Plain(acceptance_unproven=True))
    again = ["GET thread again", "pause 0.1"]
    assert transcript.after_send[:7] == ["read body", *again, *again, "GET thread again", "mark accepted"]


@pytest.mark.parametrize(
    ("state", "step", "pauses"), [("not_sent", "mark rejected", 0), ("unknown", "mark accepted", 10)]
)
@every_mode
def test_an_answer_that_was_taken_and_not_heard_is_409(mode: Mode, state: str, step: str, pauses: int) -> None:
    lost = ResumeNotConsumed("The agent did not hear it.", {"resume_state": state})
    transcript = drive(mode, {"GET thread again": LATE}, dialect=Plain(acceptance_unproven=True, lost=lost))
    assert (transcript.code, transcript.resume_state, transcript.steps[-1]) == ("resume_not_consumed", state, step)
    assert transcript.steps.count("pause 0.1") == pauses, "the settle time, unless it is certain"


@every_mode
def test_a_backend_that_fails_before_the_sending_got_nothing(mode: Mode) -> None:
    transcript = drive(mode, {"GET thread": UpstreamError("The backend failed.")})
    assert (transcript.code, transcript.resume_state) == ("upstream_error", "not_sent")
    assert "send" not in transcript.steps


@every_mode
def test_an_empty_stream_and_an_empty_body_are_no_run(mode: Mode) -> None:
    transcript = drive(mode, {"read body": b"", "read events": None})
    assert (transcript.code, transcript.resume_state) == ("upstream_unrecognised", "unknown")
    assert "mark accepted" in transcript.after_send
