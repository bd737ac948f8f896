"""Pass-through stays as cheap as it is: counted in what the interpreter does, as a clock would tell of the machine."""

from __future__ import annotations

import sys

import pytest

from ap_resume_shim import ResumeShim
from ap_resume_shim.core.protocol import Mode
from ap_resume_shim.middleware import VendorMode
from benchmarks.passthrough import REQUESTS, Work, bare, scope_of, work
from tests.recordings import BACKENDS, load_all

PINNED = {
    (3, 11): {"GET": Work(1, 25), "PATCH on another path": Work(2, 52)},
    (3, 12): {"GET": Work(1, 24), "PATCH on another path": Work(2, 48)},
    (3, 13): {"GET": Work(1, 23), "PATCH on another path": Work(2, 48)},
}
"""What the shim adds to a request, by version of Python. An interpreter that is newer is held to the last of them."""


@pytest.mark.parametrize("name", REQUESTS)
def test_pass_through_does_not_cost_a_tenth_more_than_it_did(name: str) -> None:
    pinned = PINNED.get(sys.version_info[:2], PINNED[max(PINNED)])[name]
    scope = scope_of(*REQUESTS[name])
    added = work(ResumeShim(bare, "langgraph"), scope) - work(bare, scope)
    assert added.calls <= pinned.calls
    assert added.opcodes <= pinned.opcodes * 1.1


@pytest.mark.parametrize("name", REQUESTS)
@pytest.mark.parametrize("mode", ["observe", "guard"])
def test_a_method_that_no_answer_has_costs_what_it_does_without_vendor_resumes(mode: VendorMode, name: str) -> None:
    scope = scope_of(*REQUESTS[name])
    passed, mine = (ResumeShim(bare, "langgraph", vendor_resumes=each) for each in ("pass", mode))
    assert work(mine, scope) == work(passed, scope)


@pytest.mark.parametrize("mode", ["observe", "guard"])
def test_a_post_that_no_convention_recognises_is_compared_with_each_path_once(mode: VendorMode) -> None:
    scope = scope_of("POST", "/threads/1/state")
    added = work(ResumeShim(bare, "langgraph", vendor_resumes=mode), scope) - work(bare, scope)
    assert added.calls <= 9
    assert added.opcodes <= 216 * 1.1


@pytest.mark.parametrize("name", REQUESTS)
def test_the_count_is_the_same_every_time(name: str) -> None:
    shim, scope = ResumeShim(bare, "langgraph"), scope_of(*REQUESTS[name])
    assert len({work(shim, scope) for _ in range(5)}) == 1


ROUND_TRIPS = {str(recording): [len(step) for step in recording.exchanges] for recording in load_all()}
"""The requests of each recorded resume, by round trip; `tests/backends/test_recordings.py` replays exactly these."""


@pytest.mark.parametrize("mode", [Mode.BACKGROUND, Mode.STREAM])
@pytest.mark.parametrize("backend", BACKENDS)
def test_two_round_trips_precede_the_response_to_a_resume(backend: str, mode: Mode) -> None:
    for case in ("interrupted", "asks-again", "fails"):
        assert len(ROUND_TRIPS[f"{backend}/{case}-{mode.name.lower()}"]) == 2


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_wait_makes_one_more_round_trip_unless_its_result_lists_the_next_question(backend: str) -> None:
    assert len(ROUND_TRIPS[f"{backend}/interrupted-wait"]) == 3
    assert len(ROUND_TRIPS[f"{backend}/breakpoint-wait"]) == 3
    assert len(ROUND_TRIPS[f"{backend}/asks-again-wait"]) == (2 if backend == "langgraph" else 3)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_wait_whose_run_fails_makes_one_more_round_trip_for_the_values(backend: str) -> None:
    """Older LangGraph servers' thread and state disagree after a failure, and are read twice."""
    assert len(ROUND_TRIPS[f"{backend}/fails-wait"]) == (4 if backend == "langgraph-old" else 3)
