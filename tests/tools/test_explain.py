"""`ap-resume-shim explain` and `backends`: what would be sent, and what there is, without sending anything."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Generator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from ap_resume_shim.backends import backend_names, load_backend
from ap_resume_shim.core.dialect import Decision, Dialect, Found
from ap_resume_shim.core.errors import ConfigurationError
from ap_resume_shim.core.http import Request
from ap_resume_shim.core.protocol import Mode, Resume, parse
from ap_resume_shim.core.steps import Ask, Send, Step
from ap_resume_shim.profiles.dialect import ProfileDialect
from ap_resume_shim.profiles.loading import load_profile
from ap_resume_shim.sidecar.cli import main
from ap_resume_shim.tools.assumed_answers import Assumed, Live
from ap_resume_shim.tools.describe import MODES
from ap_resume_shim.tools.explain import RecordedBackend, Sent, Stage, explain, recorded_answers
from tests.backends.playing import accepted_answer
from tests.support.agent import Agent
from tests.support.serving import serving

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


def sent(name: str, mode: Mode, value: Any) -> list[Sent]:
    """The requests of a resume, against the backend's recorded answers."""
    raw = json.dumps({"thread_id": "b0c2f5e6-51a4-4a79-a5f4-1b9a5c5e7f10", "input": value}).encode()
    answers = recorded_answers(name)
    assert answers is not None, f"{name} has no recorded answers"
    return list(explain(parse(raw, mode, now=NOW, nonce="n" * 32), load_backend(name), answers))


@pytest.mark.parametrize("mode", list(Mode), ids=MODES.values())
@pytest.mark.parametrize("name", backend_names())
def test_every_backend_has_recorded_answers_with_which_it_resumes_once(name: str, mode: Mode) -> None:
    requests = sent(name, mode, accepted_answer(name))
    assert [each.what for each in requests].count("resume") == 1, requests
    assert requests[0].what == "look"


def test_equal_answers_of_a_recording_are_used_one_after_the_other() -> None:
    same = {"request": "GET /threads/t", "body": {"status": "idle"}}
    stage = RecordedBackend(
        parse(b'{"thread_id": "t"}', Mode.WAIT, now=NOW, nonce="n"), [same, dict(same), {**same, "body": {"n": 3}}]
    )
    assert [stage.to(Request.get("/threads/t")).json.get("n") for _ in range(3)] == [None, None, 3]


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
    assert (
        'POST /sessions/a%20b/answer\naccept: application/json\ncontent-type: application/json\n\n{"answer":null}\n\n'
    ) in out


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


ROUNDS = """
name = "rounds"
thread_is = "a session"
delete = "DELETE /sessions/{thread_id}"
lookup.session.request = "GET /sessions/{thread_id}"
lookup.question = { request = "GET /tasks/{task}/question", with = { task = "/waiting/id" } }
lookup.owner.request = "GET /sessions/{thread_id}/owner"
pick.waiting = { of = "/session/tasks", where = { "/state" = "asks" } }
found = { status = "/session/state", run_id = "/waiting/id", agent_id = "/owner/agent", interrupt = "/question/text" }
agent.request = "GET /agents/{agent_id}"
resume = { background = "POST /tasks/{run_id}/reply", answer = "/reply", keyed = "never" }
run = { id = "/task/id", read = "GET /tasks/{run_id}" }
"""


def lines(out: str) -> list[str]:
    """The requests that were printed: what each is for, and its first line."""
    return [f"{what} {line}" for what, line in re.findall(r"^# (\w+)\n(.*)$", out, re.MULTILINE)]


def test_every_request_of_a_profile_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also those that need another answer, those after the resume, and those that end it."""
    file = tmp_path / "rounds.toml"
    file.write_text(ROUNDS)
    body = {"thread_id": "t", "input": "yes", "agent_id": "a", "on_completion": "delete"}
    out = explained(capsys, monkeypatch, body, "--profile", str(file), "--mode", "wait")
    state = ["GET /sessions/t", "GET /tasks/TASK/question"]
    look = [*state, "GET /sessions/t/owner", "GET /agents/a"]
    ended = "follow GET /tasks/RUN_ID"
    assert lines(out) == [
        *(f"look {line}" for line in look),
        "resume POST /tasks/RUN_ID/reply",
        *(f"follow {line}" for line in state),  # until the state shows the resume
        ended,
        *(f"follow {line}" for line in state),
        ended,
        *(f"follow {line}" for line in state),
        "follow DELETE /sessions/t",
    ]


@pytest.mark.parametrize("mode", ["background", "wait", "stream"])
def test_what_is_sent_after_the_resume_is_shown_too(
    mode: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    thread = "b0c2f5e6-51a4-4a79-a5f4-1b9a5c5e7f10"
    body = {"thread_id": thread, "input": "yes", "on_completion": "delete"}
    out = explained(capsys, monkeypatch, body, "--backend", "agent-protocol", "--mode", mode)
    assert lines(out)[-1] == f"follow DELETE /threads/{thread}"


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (
            ["--backend", "agent-protocol"],
            "The responses were recorded from a server of this kind",
        ),
        (["--profile", "PROFILE"], "The responses are assumed"),
        (["--backend", "agent-protocol", "--answers", "ANSWERS"], "The responses are those of"),
        (["--backend", "agent-protocol", "--upstream", "URL"], "are sent to http://"),
    ],
)
def test_it_is_said_where_the_answers_come_from(
    argv: list[str],
    says: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    profile, answers = tmp_path / "mine.toml", tmp_path / "answers.json"
    profile.write_text(PROFILE)
    answers.write_text(json.dumps(recorded_answers("agent-protocol")))
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b'{"thread_id": "t", "input": "yes"}')))
    with serving(Agent()) as url:
        given = {"PROFILE": str(profile), "ANSWERS": str(answers), "URL": url}
        main(["explain", *(given.get(word, word) for word in argv)])
    told = capsys.readouterr()
    assert says in told.err and "is not sent" in told.err
    assert re.search(r"\d requests in \d round trips$", told.err)
    assert "# resume\n" in told.out


@pytest.mark.parametrize("mode", ["background", "wait", "stream"])
def test_a_server_is_asked_how_the_thread_stands_and_nothing_else(
    mode: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    argv = ("--backend", "agent-protocol", "--mode", mode, "--header", "Authorization: Bearer x")
    with serving(agent := Agent()) as url:
        body = {"thread_id": "t", "input": "yes", "on_completion": "delete"}
        out = explained(capsys, monkeypatch, body, *argv, "--upstream", url)
    assert '"q1":"yes"' in out, "the id of the question that the server shows"
    assert [(seen.method, seen.path) for seen in agent.seen] == [("GET", "/threads/t"), ("POST", "/runs/search")]
    assert {dict(seen.headers)[b"authorization"] for seen in agent.seen} == {b"Bearer x"}
    assert lines(out)[-1] == "follow DELETE /threads/t"
    assert agent.status == "interrupted"


def test_a_server_whose_thread_does_not_wait_tells_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(agent := Agent(status="idle")) as url, pytest.raises(SystemExit) as left:
        explained(capsys, monkeypatch, {"thread_id": "t"}, "--backend", "agent-protocol", "--upstream", url)
    assert (left.value.code, agent.resumes) == (1, [])
    assert "refused with 409 thread_not_interrupted" in capsys.readouterr().err


class Arming(ProfileDialect):
    """A backend whose thread is armed again by a run."""

    def prepare(
        self, resume: Resume, found: Found[Any], verdict: Decision
    ) -> Generator[Step, Any, tuple[Found[Any], Decision]]:
        yield from Ask((Request.get("/threads/t"),))
        yield from Ask((Request.post("/runs/wait", {}),))
        return found, verdict


def test_what_prepares_a_thread_is_shown_and_not_sent() -> None:
    dialect = Arming(load_profile(files("ap_resume_shim.backends").joinpath("toml", "agent-protocol.toml").read_text()))
    resume = parse(b'{"thread_id": "t", "input": "yes"}', Mode.WAIT, now=NOW, nonce="n")
    agent = Agent()
    with closing(Live(resume, dialect, agent)) as live:
        shown = [f"{each.what} {each.request.method} {each.request.target}" for each in explain(resume, dialect, live)]
    assert shown[2:5] == ["look GET /threads/t", "look POST /runs/wait", "resume POST /runs/wait"]
    assert agent.resumes == []


@dataclass(frozen=True)
class Unknown:
    """A step that no dry run knows."""


RECORDED = [{"request": "POST /runs", "body": {}}]
STAGES: dict[str, Callable[[Resume, Dialect[Any]], Stage]] = {
    "recorded": lambda resume, dialect: RecordedBackend(resume, RECORDED),
    "assumed": Assumed,
    "live": lambda resume, dialect: Live(resume, dialect, Agent()),
}


@pytest.mark.parametrize("stage", STAGES.values(), ids=STAGES)
@pytest.mark.parametrize("steps", [[Unknown()], [Send(Request.post("/runs", {})), Unknown()]], ids=["first", "sent"])
def test_a_step_that_a_dry_run_does_not_know_is_an_error(
    stage: Callable[[Resume, Dialect[Any]], Stage], steps: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also after the resume, where an error of the flow itself only ends the explanation."""
    monkeypatch.setattr("ap_resume_shim.tools.explain.resume_flow", lambda *_: (step for step in steps))
    resume, dialect = parse(b'{"thread_id": "t"}', Mode.WAIT, now=NOW), load_backend("agent-protocol")
    with ExitStack() as stack:
        made = stage(resume, dialect)
        if isinstance(made, Live):
            stack.enter_context(closing(made))
        with pytest.raises(TypeError, match=r"no answer to Unknown\(\)"):
            list(explain(resume, dialect, made))


@pytest.mark.parametrize(
    ("argv", "body", "says"),
    [
        (
            ["--backend", "agno", "--upstream", "http://x", "--answers", "y"],
            {"thread_id": "t"},
            "both sources of responses",
        ),
        (
            ["--backend", "agno", "--upstream", "http://x", "--header", "y"],
            {"thread_id": "t"},
            "write it as NAME:VALUE",
        ),
        (["--backend", "agno", "--upstream", "http://127.0.0.1:9"], {"thread_id": "t"}, "502 upstream_unreachable"),
        ([], {"thread_id": "t"}, "either --backend NAME or --profile FILE"),
        (["--backend", "agno", "--profile", "x"], {"thread_id": "t"}, "either --backend NAME or --profile FILE"),
        (["--backend", "agnoo"], {"thread_id": "t"}, "Did you mean 'agno'?"),
        (["--backend", "ag-ui", "--option", "pfad=/x"], {"thread_id": "t"}, "'ag-ui' has no option 'pfad'"),
        (["--backend", "ag-ui", "--option", "path"], {"thread_id": "t"}, "has the form NAME=VALUE"),
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


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "Expecting"),
        ("{}", "are a list of objects"),
        ("[]", "no response to"),
        pytest.param("[" * 500_000, "recursion", id="nested"),
    ],
)
def test_answers_that_are_none_are_refused(text: str, says: str, tmp_path: Path) -> None:
    from ap_resume_shim.tools.explain import read_answers

    with pytest.raises(ConfigurationError, match=says):
        answers = read_answers(text, "mine")
        list(explain(parse(b'{"thread_id": "t"}', Mode.WAIT, now=NOW), load_backend("aegra"), answers))


def test_backends_are_listed_with_what_they_can(capsys: pytest.CaptureFixture[str]) -> None:
    main(["backends"])
    listed = capsys.readouterr().out
    assert [line.split(":")[0] for line in listed.splitlines() if line and line[0] != " "] == list(backend_names())
    for what in ("thread_id", "background", "wait", "stream"):
        assert listed.count(f"\n  {what} ") == len(backend_names())
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
