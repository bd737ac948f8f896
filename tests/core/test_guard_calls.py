"""A flow's calls of the guard are the methods of a resume's session."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, get_args, get_type_hints

import pytest

from ap_resume_shim.core.steps import guard
from ap_resume_shim.core.steps.guard import CallGuard
from ap_resume_shim.guard import GuardSession, MemoryGuard, ResumeKey
from ap_resume_shim.tools.uncontested import Uncontested

CALLS = [call for _, call in inspect.getmembers(guard, inspect.isfunction) if call.__module__ == guard.__name__]
GIVEN: dict[str, Any] = {"ids": ("q1",), "run_id": "r1", "answered": ("q1",), "seen": ("q1",)}

every_call = pytest.mark.parametrize("call", CALLS, ids=lambda call: call.__name__)


def types(function: Callable[..., Any]) -> tuple[dict[str, Any], Any]:
    """The types of the parameters, by name, and that of the result."""
    hints = get_type_hints(function)
    result = hints.pop("return")
    return hints, result


@every_call
def test_a_call_has_the_signature_of_the_session_s_method(call: Callable[..., CallGuard[Any]]) -> None:
    method = getattr(GuardSession, call.__name__)
    (_, *expected) = inspect.signature(method).parameters.values()
    assert list(inspect.signature(call).parameters.values()) == expected
    parameters, step = types(call)
    assert (parameters, *get_args(step)) == types(method)


@every_call
def test_a_call_is_made_on_the_session_with_its_arguments(call: Callable[..., CallGuard[Any]]) -> None:
    given = {name: GIVEN[name] for name in inspect.signature(call).parameters}
    step = call(**given)
    assert (step.method, step.arguments) == (call.__name__, tuple(given.values()))
    step.on(MemoryGuard().begin(ResumeKey("t"))).close()


@every_call
def test_nobody_stands_in_the_way_of_a_dry_run(call: Callable[..., CallGuard[Any]]) -> None:
    step = call(**{name: GIVEN[name] for name in inspect.signature(call).parameters})
    assert not getattr(Uncontested().answer(step), "names", Uncontested().answer(step))


def test_a_dry_run_has_no_answer_to_a_step_that_it_does_not_know() -> None:
    with pytest.raises(TypeError, match="no answer to 'a new step'"):
        Uncontested().answer("a new step")  # type: ignore[arg-type]
