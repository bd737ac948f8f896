"""`ap-resume-shim explain` and `backends`: what would be sent, and what there is, without sending anything."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from ap_resume_shim.backends import BACKENDS, load_backend
from ap_resume_shim.cli import main
from ap_resume_shim.core.errors import ConfigurationError
from ap_resume_shim.core.protocol import Mode, parse
from ap_resume_shim.describing import MODES
from ap_resume_shim.explaining import Sent, explain, rehearsal

NOW = "2026-11-24T12:00:00+00:00"
PROFILE = """
name = "mine"
thread_is = "a session"

[lookup.session]
request = "GET /sessions/{thread_id}"

[found]
status = "/session/state"

[resume]
wait = "POST /sessions/{thread_id}/answer"
answer = "/answer"
"""


def explained(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, body: Any, *argv: str) -> str:
    """What the command prints for a body."""
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(json.dumps(body).encode())))
    main(["explain", *argv])
    return capsys.readouterr().out


def sent(name: str, mode: Mode, value: Any = "yes") -> list[Sent]:
    """The requests of a resume, against the backend's rehearsal."""
    raw = json.dumps({"thread_id": "b0c2f5e6-51a4-4a79-a5f4-1b9a5c5e7f10", "input": value}).encode()
    answers = rehearsal(name)
    assert answers is not None, f"{name} has no rehearsal"
    return list(explain(parse(raw, mode, now=NOW, nonce="n" * 32), load_backend(name), answers))


@pytest.mark.parametrize("mode", list(Mode), ids=MODES.values())
@pytest.mark.parametrize("name", BACKENDS)
def test_every_backend_has_a_rehearsal_in_which_it_resumes_once(name: str, mode: Mode) -> None:
    value: Any = ANSWERS.get(name, "yes")
    requests = sent(name, mode, value)
    assert [each.what for each in requests].count("resume") == 1, requests
    assert requests[0].what == "look"


ANSWERS: dict[str, Any] = {
    "agno": True,
    "mastra-agent": {"approved": True},
    "agntcy": {"approved": True},
    "run-resume-body": {"answer": "yes"},
}
"""What the question of a rehearsal takes, where text is no answer to it."""


def test_a_resume_is_printed_as_http(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    thread = "b0c2f5e6-51a4-4a79-a5f4-1b9a5c5e7f10"
    out = explained(capsys, monkeypatch, {"thread_id": thread, "input": 1}, "--backend", "langgraph", "--mode", "wait")
    assert out.startswith(f"# look\nGET /threads/{thread}\naccept: application/json\n")
    assert f"# resume\nPOST /threads/{thread}/runs/wait\n" in out
    assert '"command":{"resume":{' in out


def test_a_profile_of_ones_own_is_explained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(PROFILE)
    out = explained(capsys, monkeypatch, {"thread_id": "a/b".replace("/", " "), "input": None}, "--profile", str(file))
    assert "GET /sessions/a%20b\n" in out
    assert out.endswith(
        'POST /sessions/a%20b/answer\naccept: application/json\ncontent-type: application/json\n\n{"answer":null}\n\n'
    )


def test_answers_of_ones_own_server_take_the_place_of_recorded_ones(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    profile, answers = tmp_path / "mine.toml", tmp_path / "answers.json"
    profile.write_text(PROFILE)
    answers.write_text(json.dumps([{"request": "GET /sessions/{thread_id}", "body": {"state": "idle"}}]))
    with pytest.raises(SystemExit) as left:
        explained(
            capsys, monkeypatch, {"thread_id": "t", "input": 1}, "--profile", str(profile), "--answers", str(answers)
        )
    told = capsys.readouterr()
    assert (left.value.code, told.out) == (1, "# look\nGET /sessions/t\naccept: application/json\n\n")
    assert "refused with 409 thread_not_interrupted" in told.err


@pytest.mark.parametrize(
    ("argv", "body", "says"),
    [
        ([], {"thread_id": "t"}, "--backend NAME, or --profile FILE"),
        (["--backend", "agno", "--profile", "x"], {"thread_id": "t"}, "--backend NAME, or --profile FILE"),
        (["--backend", "agnoo"], {"thread_id": "t"}, "Did you mean 'agno'?"),
        (["--backend", "ag-ui", "--option", "pfad=/x"], {"thread_id": "t"}, "'ag-ui' has no option 'pfad'"),
        (["--backend", "ag-ui", "--option", "path"], {"thread_id": "t"}, "written NAME=VALUE"),
        (["--profile", "nowhere.toml"], {"thread_id": "t"}, "nowhere.toml cannot be read"),
        (["--backend", "agno", "--answers", "nowhere.json"], {"thread_id": "t"}, "nowhere.json cannot be read"),
        (["--backend", "langgraph"], {"thread_id": "not-a-uuid"}, "422 invalid_request"),
        (["--backend", "langgraph"], {}, "422 invalid_request"),
    ],
)
def test_what_cannot_be_explained_says_why(
    argv: list[str], body: Any, says: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SystemExit) as left:
        explained(capsys, monkeypatch, body, *argv)
    assert left.value.code in (1, 2)
    assert says in capsys.readouterr().err


@pytest.mark.parametrize(("text", "says"), [("{", "Expecting"), ("{}", "is a list of objects"), ("[]", "no answer to")])
def test_answers_that_are_none_are_refused(text: str, says: str, tmp_path: Path) -> None:
    from ap_resume_shim.explaining import read_rehearsal

    with pytest.raises(ConfigurationError, match=says):
        answers = read_rehearsal(text, "mine")
        list(explain(parse(b'{"thread_id": "t"}', Mode.WAIT, now=NOW), load_backend("aegra"), answers))


def test_backends_are_listed_with_what_they_can(capsys: pytest.CaptureFixture[str]) -> None:
    main(["backends"])
    listed = capsys.readouterr().out
    assert [line.split(":")[0] for line in listed.splitlines() if line and line[0] != " "] == list(BACKENDS)
    for what in ("thread_id", "background", "wait", "stream"):
        assert listed.count(f"\n  {what} ") == len(BACKENDS)
    assert "derived: " in listed


def test_one_backend_is_listed_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    main(["backends", "langgraph", "--json"])
    (told,) = json.loads(capsys.readouterr().out)
    assert told["modes"] == dict.fromkeys(["background", "wait", "stream"], "native")


def test_a_profile_is_listed_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(PROFILE)
    main(["backends", "--profile", str(file)])
    assert "derived: the request is held open" in capsys.readouterr().out
