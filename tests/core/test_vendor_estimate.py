"""The verdict that a vendor resume would have had, estimated beside it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ap_resume_shim.core.errors import ThreadNotFound, UnsupportedInput, UpstreamError
from ap_resume_shim.core.interrupt import Interrupt
from ap_resume_shim.core.protocol import Mode
from ap_resume_shim.core.steps import Flow
from ap_resume_shim.core.vendor_estimate import estimate
from ap_resume_shim.core.vendor_resume import ClientRequest, VendorResume
from tests.core.driving import ASKS, BUSY, DONE, NOW, REFUSED, USUAL, Plain, follow
from tests.core.test_vendor_flow import TWO, Clicks


def estimated(
    comes: dict[str, Any] | None = None, dialect: Plain | None = None, *, typed_answers: bool = True, **fields: Any
) -> str:
    vendor = VendorResume(Clicks(), ClientRequest("POST", "/"), "t", Mode.WAIT, {"input": "yes"})
    vendor = replace(vendor, **fields)
    resume = vendor.resume("t", now=NOW, nonce="n")
    verdicts: list[str] = []

    def flow() -> Flow:
        found = yield from estimate(vendor, resume, dialect or Plain(), typed_answers=typed_answers)
        verdicts.append(found.verdict)

    done = follow(flow(), {**USUAL, **(comes or {})})
    if done.error is not None:
        raise done.error
    return verdicts[0]


@pytest.mark.parametrize(
    ("comes", "verdict"),
    [
        ({}, "accepted"),
        ({"GET thread": replace(ASKS, status="busy")}, "accepted"),
        ({"GET thread": BUSY}, "thread_busy"),
        ({"GET thread": DONE}, "thread_not_interrupted"),
        ({"GET thread": TWO}, "multiple_interrupts"),
        ({"GET thread": ThreadNotFound("No.")}, "thread_not_found"),
        ({"repeated": True}, "resume_in_progress"),
        ({"rival": "holding"}, "resume_in_progress"),
    ],
)
def test_the_estimate_is_the_verdict_on_the_thread(comes: dict[str, Any], verdict: str) -> None:
    assert estimated(comes) == verdict


def test_a_request_that_answers_nothing_is_a_new_turn() -> None:
    assert estimated({"GET thread": DONE}, when="if_interrupted") == "new_turn"
    assert estimated({"GET thread": ThreadNotFound("No.")}, when="if_interrupted") == "new_turn"
    assert estimated(convention=Clicks(named={})) == "new_turn"
    assert estimated(when="if_interrupted") == "accepted"


def test_questions_are_named_as_their_clients_name_them() -> None:
    named = Clicks(named={"input": "yes", "interrupt_id": "q2"})
    assert estimated({"GET thread": TWO}, convention=named) == "accepted"


def test_what_the_flow_refuses_is_refused() -> None:
    assert estimated(refused=UnsupportedInput("Later.")) == "unsupported_input"
    refusing = Plain(refuses=REFUSED)
    assert estimated(dialect=refusing) == "invalid_request"
    assert estimated(dialect=refusing, convention=Clicks(checks_value=False)) == "accepted"


@pytest.mark.parametrize(("checked", "verdict"), [(True, "invalid_answer"), (False, "accepted")])
def test_an_answer_that_violates_its_schema_is_refused_if_answers_are_checked(checked: bool, verdict: str) -> None:
    asks = replace(ASKS, interrupts=(Interrupt("q1", "sure?", {"enum": [1, 2]}),))
    assert estimated({"GET thread": asks}, typed_answers=checked) == verdict


def test_a_lookup_that_fails_has_no_verdict() -> None:
    with pytest.raises(UpstreamError):
        estimated({"GET thread": UpstreamError("It failed.")})


def test_the_newest_run_is_that_of_the_lookup() -> None:
    vendor = VendorResume(Clicks(), ClientRequest("POST", "/"), "t", Mode.WAIT, {"input": "yes"})
    found: list[str | None] = []

    def flow(thread: Any) -> Flow:
        found.append((yield from estimate(vendor, vendor.resume("t", now=NOW, nonce="n"), Plain())).run_id)

    for thread in (replace(ASKS, run_id="r1"), replace(DONE, run_id="r2")):
        follow(flow(thread), {**USUAL, "GET thread": thread})
    assert found == ["r1", "r2"]
