"""Every JSON value is a legal answer and arrives unchanged, or is refused before the backend is touched."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ap_resume_shim.core.protocol import Mode
from tests.support.world import World

VALUES: list[Any] = [
    None,
    False,
    True,
    0,
    -1,
    1.5,
    2**53 - 1,
    "",
    "null",
    "Grüße, 世界 🎈\n",
    [],
    [None, False, 0, "", [], {}],
    {},
    {"a": {"b": [None]}},
    {"resume": {"goto": "x"}, "__interrupt__": []},
]


@pytest.mark.parametrize("value", VALUES, ids=[json.dumps(value)[:40] for value in VALUES])
def test_a_value_arrives_unchanged(world: World, mode: Mode, value: Any) -> None:
    thread = world.thread("echo")
    outcome = world.resume(mode, thread, input=value)
    assert outcome.status == 200, outcome.response.text
    values = world.values(thread)
    assert json.loads(values["json"]) == value
    assert type(json.loads(values["json"])) is type(value)


def test_messages_without_input_are_the_answer(world: World, mode: Mode) -> None:
    thread = world.thread("echo")
    messages = [{"role": "user", "content": "yes", "id": "m1", "metadata": {"k": None}}]
    assert world.resume(mode, thread, messages=messages).status == 200
    assert json.loads(world.values(thread)["json"]) == messages


def test_input_and_messages_together_are_422(world: World, mode: Mode) -> None:
    thread = world.thread("echo")
    outcome = world.resume(mode, thread, input=1, messages=[{"role": "user", "content": "x"}])
    assert (outcome.status, outcome.code) == (422, "invalid_request")
    assert len(world.run_requests(thread)) == 1


@pytest.mark.parametrize("value", [2**53, 2**63, 2**64, -(2**63) - 1], ids=str)
def test_an_integer_arrives_exactly_or_is_422(world: World, mode: Mode, value: int) -> None:
    thread = world.thread("echo")
    outcome = world.resume(mode, thread, input={"n": value})
    if outcome.status == 200:
        assert json.loads(world.values(thread)["json"]) == {"n": value}
    else:
        assert (outcome.status, outcome.code) == (422, "unsupported_input")
        assert len(world.run_requests(thread)) == 1
        assert world.resume(mode, thread, input="as a string instead").status == 200
