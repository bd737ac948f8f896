"""The command line: what it says, with which status it ends, and that it serves."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import httpx
import pytest

import ap_resume_shim
from ap_resume_shim.sidecar.cli import COMMANDS, main
from tests.support.agent import Agent, held, resume
from tests.support.calling import CLIENT
from tests.support.loggers import restored_loggers
from tests.support.redis_server import redis_server
from tests.support.serving import listening, serving
from tests.support.sidecar import COMMAND, sidecar
from tests.support.waiting import eventually

NOBODY = "http://127.0.0.1:9"


@dataclass(frozen=True)
class Ended:
    status: int | str | None
    out: str
    err: str


class Run(Protocol):
    def __call__(self, *argv: str) -> Ended: ...


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Run a command line to its end, in this process."""
    for name in [name for name in os.environ if name.startswith("AP_RESUME_SHIM_")]:
        monkeypatch.delenv(name)

    def running(*argv: str) -> Ended:
        status: int | str | None = 0
        try:
            main(argv)
        except SystemExit as end:
            status = end.code
        return Ended(status, *capsys.readouterr())

    with restored_loggers():
        yield running


@pytest.mark.parametrize("argv", [("backends",), ("explain", "--backend", "langgraph"), ("--help",)], ids=" ".join)
def test_a_pipe_that_its_reader_has_closed_ends_the_command_quietly(argv: tuple[str, ...]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    body = json.dumps({"thread_id": "b0c2f5e6-51a4-4a79-a5f4-1b9a5c5e7f10", "input": 1})
    try:
        ended = subprocess.run([*COMMAND, *argv], stdout=writer, stderr=subprocess.PIPE, input=body, text=True)
    finally:
        os.close(writer)
    lines = [line for line in ended.stderr.splitlines() if not line.startswith("ap-resume-shim: ")]
    assert (ended.returncode, lines) == (1, [])


def test_explain_on_a_terminal_requests_a_body_and_ends_quietly_on_ctrl_c() -> None:
    ours, theirs = os.openpty()
    try:
        command = [*COMMAND, "explain", "--backend", "langgraph"]
        # In the background, as the suite may run, a shell's commands ignore Ctrl-C, and so do those that they start.
        heeding = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
        with subprocess.Popen(command, stdin=theirs, stderr=subprocess.PIPE, text=True, preexec_fn=heeding) as waiting:
            try:
                assert waiting.stderr is not None
                assert "Ctrl-D" in waiting.stderr.readline()
                # A signal that comes just before the process waits for input would be noticed after the input.
                eventually(lambda: _sleeps(waiting.pid), "the process waits for input")
                waiting.send_signal(signal.SIGINT)
                assert (waiting.wait(timeout=60), waiting.stderr.read()) == (130, "")
            finally:
                waiting.kill()
    finally:
        os.close(ours)
        os.close(theirs)


def _sleeps(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "S"


@pytest.mark.parametrize("argv", [(), ("--help",), ("-h",)])
def test_help_lists_the_commands(run: Run, argv: tuple[str, ...]) -> None:
    ended = run(*argv)
    assert (ended.status, ended.err) == (0, "")
    assert all(f"  {command} " in ended.out for command in COMMANDS)
    assert "--version" in ended.out


def test_the_version_is_told(run: Run) -> None:
    assert run("--version").out == f"{ap_resume_shim.__version__}\n"


EXTRAS = ("httptools", "websockets", "uvloop", "pydantic_settings", "pythonjsonlogger", "redis", "cryptography")
"""What the extras install, but for what these install themselves."""


def without_extras(*argv: str) -> subprocess.CompletedProcess[str]:
    """Run a command as if no extra were installed."""
    code = f"import sys; sys.modules |= dict.fromkeys({EXTRAS}); from ap_resume_shim.sidecar.cli import main; main()"
    body = json.dumps({"thread_id": "b0c2f5e6-51a4-4a79-a5f4-1b9a5c5e7f10", "input": 1})
    return subprocess.run([sys.executable, "-c", code, *argv], input=body, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    "argv",
    [
        ("--help",),
        ("--version",),
        ("backends",),
        ("explain", "--backend", "langgraph"),
        ("schema",),
        ("demo", "--help"),
    ],
    ids=" ".join,
)
def test_a_command_without_a_server_needs_no_extra(argv: tuple[str, ...]) -> None:
    ended = without_extras(*argv)
    assert ended.returncode == 0 and ended.stdout, ended.stderr


@pytest.mark.parametrize("argv", [("serve", "--upstream", NOBODY), ("serve", "--help"), ("demo",)], ids=" ".join)
def test_a_server_without_its_extra_names_it(argv: tuple[str, ...]) -> None:
    ended = without_extras(*argv)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert f"`ap-resume-shim {argv[0]}` needs the extra `serve`" in ended.stderr
    assert ended.stderr.endswith("pip install 'ap_resume_shim[serve]'\n")


def test_help_of_serve_lists_its_flags(run: Run) -> None:
    ended = run("serve", "--help")
    assert ended.status == 0
    wanted = "--upstream --backend --port --resume-at --lenient --guard --guard-lease --no-guard-required --namespace"
    limits = "--duplicate-window --keep-answers --connect-timeout --lookup-timeout --resume-timeout --idle-timeout"
    assert {"--credentials", *wanted.split(), *limits.split()} <= set(re.findall(r"--[\w-]+", ended.out))


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["unknown"], "unknown command 'unknown'; there are demo, serve, backends, explain, report, audit, schema."),
        (["sevre"], "unknown command 'sevre'; did you mean serve?"),
        (["help"], "unknown command 'help'; did you mean --help?"),
        (["version"], "unknown command 'version'; did you mean --version?"),
        (["serve"], "--upstream: is required: address of the server: http://127.0.0.1:2024"),
        (["serve", "--upstream", "localhost:80"], "'localhost:80' is not the address of a server"),
        (["serve", "--upstream", "http://u:p@host"], "clients send their own credentials"),
        (["serve", "--upstream", NOBODY, "--backend", "langraph"], "Unknown backend 'langraph'"),
        (["serve", "--upstream", NOBODY, "--backend", "langraph"], "Did you mean 'langgraph'?"),
        (["serve", "--upstream", NOBODY, "--port", "x"], "--port: must be a whole number"),
        (["serve", "--upstream", NOBODY, "--port", "70000"], "--port: must be at most 65535"),
        (["serve", "--upstream", NOBODY, "--settle", "-1"], "--settle: "),
        (["serve", "--upstream", NOBODY, "--guard", "mongodb://here"], "There is no guard 'mongodb://here'"),
        (["serve", "--upstream", NOBODY, "--guard", "redis://:secret@here:x"], "not the address of a Redis server"),
        (["serve", "--upstream", NOBODY, "--guard", "redis://here", "--guard-lease", "1"], "give it at least 3 s"),
        (["serve", "--upstream", NOBODY, "--resume-timeout", "0"], "--resume-timeout: "),
        (["serve", "--upstream", NOBODY, "--log-level", "loud"], "--log-level: "),
        (["serve", "--upstream", NOBODY, "--resume-at", "x", "--backend", "agent-protocol"], "starts with a slash"),
        (["serve", "--upstream", NOBODY, "--prefix", "api/", "--check"], "The prefix 'api/' matches no route"),
        (["serve", "--upstream", NOBODY, "--nonsense", "1"], "--nonsense"),
        (["serve", NOBODY], f"did you mean --upstream {NOBODY}?"),
        (["backends", "--nonsense"], "--nonsense"),
        (["demo", "--port", "8080"], "--port is the port of the console: add --console"),
    ],
)
def test_a_wrong_call_ends_with_2_and_says_why(run: Run, argv: list[str], says: str) -> None:
    ended = run(*argv)
    assert (ended.status, ended.out) == (2, "")
    assert says in ended.err and "secret" not in ended.err
    assert "Traceback" not in ended.err


def test_a_taken_port_ends_with_1_and_says_what_to_do(run: Run) -> None:
    with listening() as taken:
        taken.listen()
        port = taken.getsockname()[1]
        ended = run("serve", "--upstream", NOBODY, "--port", str(port))
    assert ended.status == 1
    assert ended.err.startswith(f"ap-resume-shim: cannot listen on 127.0.0.1:{port}: Address already in use.")
    assert "--port" in ended.err


def test_an_unknown_host_ends_with_1(run: Run) -> None:
    ended = run("serve", "--upstream", NOBODY, "--host", "256.0.0.1")
    assert (ended.status, ended.err.startswith("ap-resume-shim: cannot listen on 256.0.0.1:8063")) == (1, True)


def test_the_package_is_a_command() -> None:
    ended = subprocess.run([*COMMAND, "backends"], capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stderr, "langgraph" in ended.stdout) == (0, "", True)


def test_it_serves_until_it_is_told_to_stop() -> None:
    with serving(Agent()) as upstream, sidecar("--upstream", upstream, "--port", "0") as shim:
        eventually(lambda: is_up(shim.url))
        shim.process.send_signal(signal.SIGTERM)
        assert shim.process.wait(timeout=20) == 0
        assert "Traceback" not in shim.log


def test_a_server_that_does_not_say_what_it_is_is_not_resumed() -> None:
    with serving(agent := Agent()) as upstream, sidecar("--upstream", upstream, "--port", "0") as shim:
        eventually(lambda: is_up(shim.url))
        assert "--backend" in resume(shim.url).json()["message"]
    assert agent.resumes == []


@pytest.mark.parametrize("shared", [False, True])
def test_the_guards_flags_reach_the_guard(shared: bool) -> None:
    with ExitStack() as stack:
        guard = stack.enter_context(redis_server()).url if shared else "memory"
        upstream = stack.enter_context(serving(agent := Agent()))
        flags = ("--backend", "agent-protocol", "--guard", guard, "--duplicate-window", "60", "--keep-answers", "60")
        shim = stack.enter_context(sidecar("--upstream", upstream, "--port", "0", *flags))
        first = resume(shim.url)
        agent.status = "interrupted"
        assert (first.status_code, resume(shim.url).status_code) == (200, 409)


def test_the_time_limits_flags_are_limits() -> None:
    with serving(agent := Agent(held)) as upstream:
        flags = ("--backend", "agent-protocol", "--resume-timeout", "0.2")
        with sidecar("--upstream", upstream, "--port", "0", *flags) as shim:
            late = resume(shim.url)
        agent.go.set()
    assert (late.status_code, late.json()["code"]) == (504, "upstream_timeout")
    assert late.json()["metadata"] == {"resume_state": "unknown"}


def is_up(url: str) -> bool:
    try:
        return CLIENT.get(f"{url}/threads/t").is_success
    except httpx.TransportError:
        return False


def test_every_flag_is_an_environment_variable() -> None:
    with serving(Agent()) as upstream, listening() as free:
        port = free.getsockname()[1]
        free.close()
        env = {"UPSTREAM": upstream, "BACKEND": "agent-protocol", "PORT": str(port), "PREFIX": "", "LENIENT": "true"}
        with sidecar(**{f"AP_RESUME_SHIM_{name}": value for name, value in env.items()}) as shim:
            assert shim.url == f"http://127.0.0.1:{port}"
            eventually(lambda: is_up(shim.url))
            assert resume(shim.url).status_code == 200


def test_a_flag_counts_more_than_the_environment(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AP_RESUME_SHIM_UPSTREAM", NOBODY)
    assert "'flag' is not the address" in run("serve", "--upstream", "flag").err


def test_an_upstream_that_is_not_there_yet_is_said_and_waited_for() -> None:
    with listening() as later:  # bound, and not listening yet: connections are refused
        upstream = f"http://127.0.0.1:{later.getsockname()[1]}"
        with sidecar("--upstream", upstream, "--port", "0", "--backend", "agent-protocol") as shim:
            eventually(lambda: status(shim.url) == 502)
            assert f"no connection to {upstream} yet" in shim.log
            with serving(Agent(), at=later):
                eventually(lambda: status(shim.url) == 200)
                assert resume(shim.url).json()["run_id"] == "r2"


def test_a_store_that_cannot_be_used_is_said_at_start() -> None:
    with redis_server("--requirepass", "right") as store, serving(Agent()) as upstream:
        guard = f"redis://:wrong@127.0.0.1:{store.port}/0"
        flags = ("--port", "0", "--backend", "agent-protocol", "--guard", guard)
        with sidecar("--upstream", upstream, *flags) as shim:
            eventually(lambda: is_up(shim.url))
            assert "refuses the user or the password" in shim.log and "wrong" not in shim.log
            assert CLIENT.get(f"{shim.url}/-/readyz").status_code == 503
            assert resume(shim.url).json()["code"] == "guard_unavailable"


def status(url: str) -> int | None:
    try:
        return CLIENT.get(f"{url}/threads/t").status_code
    except httpx.TransportError:
        return None
