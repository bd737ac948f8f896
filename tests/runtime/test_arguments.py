"""A wrong argument of the middleware is refused when the app is made, in words that name it."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from ap_resume_shim import Limits, ResumeShim
from ap_resume_shim.core.errors import ConfigurationError
from tests.support.agent import PROTOCOL, Agent

WRONG: dict[str, list[Any]] = {
    "backend": [5, None],
    "profile": [5],
    "resume_at": [5],
    "options": ["path=/agent", 5],
    "guard": [None, 5],
    "namespace": [5],
    "credentials": [5, [5], None],
    "share_ledger": ["false", 1, None],
    "lenient": ["false", 1],
    "prefix": [None, 5],
    "settle": [-1, "1", None, True, float("nan"), float("inf")],
    "typed_answers": ["cheked", True, None],
    "vendor_resumes": ["gaurd", "Guard", "", True, None],
    "report_key": [5],
    "limits": [5, {"lookup": 1}],
    "cors": [5, [5], None],
    "merge_openapi": ["false", 1],
    "telemetry": [5, [5], [None]],
    "authorize": [5],
    "audit": [5, True],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_a_wrong_argument_is_refused_by_its_name(name: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=f"^`{name}` must be "):
        ResumeShim(Agent(), **{"backend": PROTOCOL, name: value})


def test_every_argument_is_checked() -> None:
    assert [*WRONG] == [*inspect.signature(ResumeShim).parameters][1:]


@pytest.mark.parametrize("value", [0, -1, "30", None, True, float("nan")])
def test_a_limit_is_a_number_above_0(value: Any) -> None:
    with pytest.raises(ConfigurationError, match="`lookup` must be a number above 0"):
        Limits(lookup=value)
