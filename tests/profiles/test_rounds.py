"""Lookups in rounds, and picks: what a profile says of a thread whose runs are lists."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest

import ap_resume_shim
from ap_resume_shim.core import strictjson
from ap_resume_shim.core.dialect import Found
from ap_resume_shim.core.errors import AmbiguousInterrupt, ConfigurationError, InvalidRequest
from ap_resume_shim.core.http import Response
from ap_resume_shim.core.protocol import Mode, parse
from ap_resume_shim.profiles.dialect import ProfileDialect
from ap_resume_shim.profiles.loading import load_profile, profile_schema

ROUNDS = """
name = "rounds"
thread_is = "a session"

[lookup.session]
request = "GET /sessions/{thread_id}"

[lookup.runs]
request = "GET /sessions/{thread_id}/runs"

[lookup.question]
request = "GET /runs/{waiting}/question"
with = { waiting = "/waiting/id" }

[pick.waiting]
of = "/runs/items"
where = { "/state" = ["asks", "begs"] }

[found]
status = ["/waiting/state", "/session/state"]
interrupt = "/question/text"
run_id = "/waiting/id"
agent_id = "/waiting/agent"
updated_at = "/session/at"

[status]
interrupted = ["asks", "begs"]

[resume]
background = "POST /runs/{run_id}/answer"
answer = ""
"""
SESSION = {"state": "idle", "at": 1764028800}


def look(
    *rounds: tuple[Any, ...], full: bool = True, text: str = ROUNDS, **fields: Any
) -> tuple[list[list[str]], Found[Any]]:
    """Answer the lookups, round by round: what was asked in each, and what was found."""
    raw = strictjson.dumps({"thread_id": "t", **fields})
    flow = ProfileDialect(load_profile(text)).inspect_thread(parse(raw, Mode.BACKGROUND, now=""), full=full)
    asked, answers, left = [], None, list(rounds)
    try:
        while True:
            step: Any = flow.send(answers)
            asked.append([request.target for request in step.requests])
            answers = tuple(Response(200, (), strictjson.dumps(value)) for value in left.pop(0))
    except StopIteration as ended:
        return asked, ended.value


def test_what_depends_on_another_answer_is_asked_in_a_second_round() -> None:
    runs = {"items": [{"id": "r0", "state": "done"}, {"id": "r1", "state": "begs", "agent": "a"}]}
    for full in (True, False):
        asked, found = look((SESSION, runs), ({"text": "sure?"},), full=full)
        assert asked == [["/sessions/t", "/sessions/t/runs"], ["/runs/r1/question"]]
        assert (found.run_id, found.agent_id, found.interrupts[0].value) == ("r1", "a", "sure?")


def test_what_depends_on_something_that_is_not_there_is_left_out() -> None:
    asked, found = look((SESSION, {"items": []}))
    assert asked == [["/sessions/t", "/sessions/t/runs"]]
    assert (found.status, found.interrupts) == ("idle", ())


def test_a_thread_is_busy_if_one_of_the_lookups_saw_it_busy() -> None:
    """They go out side by side, and the thread may begin or end a run between them."""
    asks = {"items": [{"id": "r1", "state": "asks", "agent": "a"}]}
    _, found = look(({**SESSION, "state": "busy"}, asks), ({"text": "sure?"},))
    assert found.status == "busy"
    _, found = look(({**SESSION, "state": "a word that is not known"}, asks), ({"text": "sure?"},))
    assert found.status == "interrupted"


def test_a_time_in_seconds_becomes_text() -> None:
    assert look((SESSION, {}))[1].updated_at == "2025-11-25T00:00:00+00:00"


def test_two_that_fit_where_only_one_may_are_409() -> None:
    both = {"items": [{"id": "r1", "state": "asks"}, {"id": "r2", "state": "asks"}]}
    with pytest.raises(AmbiguousInterrupt, match="one run at a time"):
        look((SESSION, both))


def test_an_agent_that_is_not_the_runs_own_is_refused() -> None:
    runs = {"items": [{"id": "r1", "state": "asks", "agent": "a"}]}
    with pytest.raises(InvalidRequest, match="continues with that agent"):
        look((SESSION, runs), ({"text": "?"},), agent_id="b")


def test_a_profile_without_any_mode_is_none() -> None:
    with pytest.raises(ConfigurationError, match="one of background, wait and stream is needed"):
        load_profile(ROUNDS.replace('background = "POST /runs/{run_id}/answer"', ""))


def test_a_place_that_was_not_looked_up_is_told() -> None:
    for old in ('of = "/runs/items"', 'waiting = "/waiting/id"'):
        with pytest.raises(ConfigurationError, match="does not begin with a known name"):
            load_profile(ROUNDS.replace(old, old.replace('"/', '"/nowhere/')))


def test_the_schema_knows_every_table() -> None:
    assert set(profile_schema()["properties"]) >= {"lookup", "pick", "found", "resume", "run", "error", "detect"}


def test_the_published_schema_is_that_of_profiles() -> None:
    published = Path(__file__).parents[2] / "docs/reference/profile.schema.json"
    assert json.loads(published.read_text("utf-8")) == profile_schema()


TOML = sorted((Path(ap_resume_shim.__file__).parent / "backends/toml").glob("*.toml"))


@pytest.mark.parametrize("file", TOML, ids=lambda file: file.stem)
def test_a_profile_needs_the_keys_that_no_other_profile_supplies(file: Path) -> None:
    schema, profile = profile_schema(), tomllib.loads(file.read_text("utf-8"))
    jsonschema.validate(profile, schema)
    extends = profile.pop("extends", None)
    for key in ("name", "thread_is", "lookup", "found", "resume"):
        incomplete = {name: value for name, value in profile.items() if name != key}
        with pytest.raises(jsonschema.ValidationError, match="is a required property"):
            jsonschema.validate(incomplete, schema)
        jsonschema.validate({**incomplete, "extends": extends or "run-resume"}, schema)


def test_an_item_that_was_picked_may_be_picked_from() -> None:
    """The newest run, if it waits: an older one that waits is of no interest."""
    runs = '[pick.newest]\nof = "/runs/items"\nwhich = "first"\n\n[pick.waiting]\nof = "/newest"'
    text = ROUNDS.replace('[pick.waiting]\nof = "/runs/items"', runs)
    for newest, run_id in (("asks", "r1"), ("done", None)):
        items = [{"id": "r1", "state": newest}, {"id": "r0", "state": "asks"}]
        rounds = [(SESSION, {"items": items}), ({"text": "?"},)]
        assert look(*rounds, text=text)[1].run_id == run_id
    with pytest.raises(ConfigurationError, match="does not begin with a known name: /session, /runs, /question"):
        load_profile(ROUNDS.replace('of = "/runs/items"', 'of = "/waiting"'))


def test_an_item_may_be_picked_from_a_later_answer() -> None:
    text = ROUNDS.replace("[found]", '[pick.option]\nof = "/question/options"\n\n[found]\nvalues = "/option"')
    found = look((SESSION, {"items": [{"id": "r1", "state": "asks"}]}), ({"options": [{"n": 1}]},), text=text)[1]
    assert found.values == {"n": 1}
