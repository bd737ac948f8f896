"""The demo in the browser: questions wait in the console, and Ctrl-C ends it."""

from __future__ import annotations

import re
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from ap_resume_shim.sidecar.cli import main
from tests.browser.devtools import browser
from tests.support.calling import CLIENT
from tests.support.loggers import restored_loggers
from tests.support.serving import listening
from tests.support.sidecar import COMMAND, Sidecar, started
from tests.support.waiting import eventually


@contextmanager
def demo() -> Iterator[tuple[Sidecar, str]]:
    """Run the demo with the console on a free port during the block; yields the URL of the console, too."""
    with started([*COMMAND, "demo", "--console", "--port", "0"]) as running:
        running.wait_until_it_listens()
        yield running, eventually(lambda: re.search(r"the console is at (\S+)", running.log), "an address")[1]


def thread_of_deploy(running: Sidecar) -> str:
    questions = CLIENT.get(f"{running.url}/-/questions").json()["questions"]
    return str(next(each["thread_id"] for each in questions if each["agent_id"] == "deploy"))


def test_questions_wait_in_the_console_and_the_second_of_two_answers_is_refused() -> None:
    with demo() as (running, console):
        assert "Ctrl-C" in running.log
        assert CLIENT.get(console).status_code == 200
        questions = CLIENT.get(f"{running.url}/-/questions").json()["questions"]
        assert {each["agent_id"] for each in questions} == {"deploy", "ask", "mail"}
        answer = {"thread_id": thread_of_deploy(running), "input": "approve"}
        first = CLIENT.patch(f"{running.url}/runs/resume/wait", json=answer)
        second = CLIENT.patch(f"{running.url}/runs/resume/wait", json=answer)
        assert (first.json()["values"]["production"], second.status_code) == ("4.2", 409)


@pytest.mark.skipif(sys.platform == "win32", reason="no process sends Ctrl-C to another on Windows")
def test_ctrl_c_ends_the_demo_while_a_run_is_in_progress() -> None:
    with demo() as (running, _):
        answer = {"thread_id": thread_of_deploy(running), "input": "approve"}
        with CLIENT.stream("PATCH", f"{running.url}/runs/resume/stream", json=answer) as response:
            lines = response.iter_lines()
            next(lines)
            running.process.send_signal(signal.SIGINT)
            assert any("100 % of the traffic" in line for line in lines)
        assert running.process.wait(timeout=20) == 0
        assert "Traceback" not in running.log


def test_a_person_answers_in_the_browser() -> None:
    with browser() as page, demo() as (_, console):
        page.open(console)
        page.sees("Deploy release 4.2 to production?")
        page.sees("send_email")
        page.click("send_email", "#list")
        page.click("Approve", "#detail")
        page.sees("Finished", "#detail")


def test_a_taken_port_is_reported_and_the_agent_server_ends(capsys: pytest.CaptureFixture[str]) -> None:
    with restored_loggers(), listening() as taken, pytest.raises(SystemExit) as end:
        taken.listen()
        main(["demo", "--console", "--port", str(taken.getsockname()[1])])
    assert end.value.code == 1
    assert "Address already in use" in capsys.readouterr().err
