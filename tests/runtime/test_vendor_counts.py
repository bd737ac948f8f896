"""Counts of resumes by convention, client and caller, in bounded memory."""

from __future__ import annotations

from typing import Any

import pytest

from ap_resume_shim import ResumeShim
from ap_resume_shim.core.errors import ConfigurationError
from ap_resume_shim.runtime.vendor_counts import CALLERS, VendorCounts
from tests.support.agent import Agent

KEY = "a secret of this deployment"


def counts(key: str | None = KEY, mode: str = "observe") -> VendorCounts:
    return VendorCounts(mode, ("authorization",), key)


def request(client: str = "mine/1.0", caller: str = "me") -> dict[str, Any]:
    return {"headers": [(b"user-agent", client.encode()), (b"authorization", caller.encode())]}


def test_verdicts_are_counted_for_each_convention_and_client() -> None:
    counted = counts()
    for client, verdict in [("mine/1.0", "accepted"), ("mine/2.0 (x)", "thread_busy"), ("Mozilla/5.0", "accepted")]:
        counted.count(request(client), "langgraph-v1", verdict)
    counted.count(request(), "langgraph-v2", "new_turn")
    found = counted.report()["conventions"]
    assert found["langgraph-v1"]["verdicts"] == {"accepted": 2, "thread_busy": 1}
    assert found["langgraph-v1"]["clients"] == {"mine": {"accepted": 1, "thread_busy": 1}, "Mozilla": {"accepted": 1}}
    assert found["langgraph-v2"]["resumes"] == 1


def test_callers_are_digests_that_only_the_same_key_makes_again() -> None:
    def callers(counted: VendorCounts) -> list[str]:
        for caller in ("me", "you", "me"):
            counted.count(request(caller=caller), "acp", "accepted")
        found: list[str] = counted.report()["conventions"]["acp"]["callers"]
        return found

    one, same, other, random = map(callers, (counts(), counts(), counts(KEY + "!"), counts(None)))
    assert one == same and len(one) == 2
    assert not {*one} & {*other} and not {*one} & {*random}
    assert counts().report()["callers_of"] == counts().report()["callers_of"] != counts(None).report()["callers_of"]


def test_callers_and_clients_are_bounded() -> None:
    counted = counts()
    for number in range(CALLERS + 10):
        counted.count(request(f"client-{number}/1", str(number)), "acp", "accepted")
    (found,) = counted.report()["conventions"].values()
    assert len(found["callers"]) == CALLERS
    assert len(found["clients"]) == 51
    assert found["clients"]["other"] == {"accepted": CALLERS - 40}


def test_nothing_is_counted_if_vendor_resumes_pass() -> None:
    counted = counts(mode="pass")
    counted.count(request(), "acp", "accepted")
    assert counted.report()["conventions"] == {}


def test_a_short_key_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="16 characters"):
        ResumeShim(Agent(), "agent-protocol", report_key="short")
