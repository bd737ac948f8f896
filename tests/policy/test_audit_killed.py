"""Real sidecars with an audit file: killed at random moments, rotated, on a full disk, two with one file."""

from __future__ import annotations

import json
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Event, Lock
from typing import Any

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from tests.support.agent import read, reply
from tests.support.calling import CLIENT
from tests.support.seeding import seeds
from tests.support.serving import serving
from tests.support.sidecar import COMMAND, Sidecar, sidecar, started
from tests.support.waiting import eventually

ROUTES = ("/runs/resume", "/runs/resume/wait", "/runs/resume/stream")
COMMANDS = ("/runs", "/runs/wait", "/runs/stream")
VENDOR = {"agent_id": "a", "input": {"command": {"resume": "yes"}}}


SLOW_DISK = """
import os, time
from ap_resume_shim.sidecar.cli import main

write = os.write
os.write = lambda file, data: (time.sleep(0.02), write(file, data))[1]
main()
"""
"""Runs a sidecar whose audit file is written slowly: nothing else in it calls `os.write`."""


class Origin:
    """A server whose threads always ask; it records the threads of the resumes that it received."""

    def __init__(self) -> None:
        self.received: list[str] = []
        self._lock = Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path, body = scope["path"], await read(receive)
        if path in COMMANDS:
            thread = json.loads(body)["thread_id"]
            with self._lock:
                self.received.append(thread)
            await self._run(path, send)
        elif path == "/runs/search":
            await reply(send, [{"run_id": "r1", "agent_id": "a"}])
        elif path.startswith("/threads/"):
            thread = path.rpartition("/")[2]
            asks = [{"id": f"q-{thread}", "value": "sure?"}]
            await reply(send, {"thread_id": thread, "status": "interrupted", "interrupts": asks, "values": {}})
        else:
            await reply(send, {"detail": "not found"}, 404)

    async def _run(self, path: str, send: Send) -> None:
        run = {"run_id": "r2", "agent_id": "a", "status": "success"}
        if path != "/runs/stream":
            await reply(send, run if path == "/runs" else {"run": run, "values": {}})
            return
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        await send({"type": "http.response.body", "body": b'event: metadata\ndata: {"run_id": "r2"}\n\n'})


@contextmanager
def audited(origin: str, path: Path, *options: str, slow_disk: bool = False) -> Iterator[Sidecar]:
    """Run a sidecar with an audit file."""
    command = [sys.executable, "-c", SLOW_DISK] if slow_disk else COMMAND
    more = ("--backend", "agent-protocol", "--vendor-resumes", "guard", "--commit-timeout", "0.01")
    given = ["serve", "--upstream", origin, "--port", "0", "--audit", str(path), *more, *options]
    with started([*command, *given]) as made:
        made.wait_until_it_listens()
        yield made


def lines(*paths: Path) -> list[dict[str, Any]]:
    """The whole lines of files."""
    found = []
    for path in paths:
        for line in path.read_bytes().splitlines():
            try:
                found.append(json.loads(line))
            except ValueError:  # torn
                assert line.startswith(b'{"prev":')
    return found


def sent(*paths: Path) -> set[str]:
    return {line["thread_id"] for line in lines(*paths) if line["event"] == "sending"}


def verified(*paths: Path) -> str:
    command = [*COMMAND, "audit", "verify", *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout
    return done.stdout


def answer(url: str, thread: str, number: int) -> httpx.Response:
    """An answer by one of the routes, or in the convention of the server."""
    if number % 2:
        return CLIENT.post(url + COMMANDS[number % 3], json={"thread_id": thread, **VENDOR})
    body = {"thread_id": thread, "input": "yes", "on_disconnect": "continue"}
    return CLIENT.patch(url + ROUTES[number % 3], json=body)


def load(url: str, name: str, over: Event) -> None:
    """Answer one thread after the other."""
    for number in range(100_000):
        if over.is_set():
            return
        try:
            answer(url, f"{name}-{number}", number)
        except httpx.TransportError:
            time.sleep(0.01)


@pytest.mark.parametrize("seed", seeds("AP_TEST_AUDIT_KILLS", 1, 1, 10))
def test_killed_at_any_moment_the_file_verifies_and_no_resume_was_sent_without_a_line(
    tmp_path: Path, seed: int
) -> None:
    chance, origin, path = random.Random(seed), Origin(), tmp_path / "audit.jsonl"
    with serving(origin, lifespan="off") as url:
        for life in range(6):
            over = Event()
            with audited(url, path, slow_disk=life % 2 == 1) as process, ThreadPoolExecutor(4) as pool:
                before, address = len(origin.received), process.url
                for client in range(4):
                    pool.submit(load, address, f"{life}-{client}", over)
                eventually(lambda before=before: len(origin.received) > before + 3)  # type: ignore[misc]
                time.sleep(chance.random() * 0.3)
                process.kill()
                over.set()
            assert set(origin.received) <= sent(path), "a resume was sent without a line"
            verified(path)
    events = [line["event"] for line in lines(path)]
    assert events.count("opened") == 6
    assert 0 < events.count("outcome") <= events.count("sending")


def test_sighup_continues_in_a_new_file_and_a_second_process_is_refused(tmp_path: Path) -> None:
    origin, path, old = Origin(), tmp_path / "audit.jsonl", tmp_path / "audit.jsonl.1"
    with serving(origin, lifespan="off") as url, audited(url, path) as process:
        assert answer(process.url, "t1", 0).status_code == 200
        with started([*COMMAND, "serve", "--upstream", url, "--port", "0", "--audit", str(path)]) as second:
            assert second.process.wait(timeout=60) == 2
            assert "is in use by another process: each process needs a file of its own" in second.log
        path.rename(old)
        process.process.send_signal(signal.SIGHUP)
        eventually(path.exists)
        assert answer(process.url, "t2", 1).status_code == 200
        process.process.terminate()
        assert process.process.wait(timeout=60) == 0
    assert (sent(old), sent(path)) == ({"t1"}, {"t2"})
    assert [line["event"] for line in lines(path)] == ["rotated", "sending", "outcome"]
    assert verified(old, path).count("is complete and unchanged") == 2


def test_a_rotation_while_the_sidecar_starts_does_not_end_it(tmp_path: Path) -> None:
    with ExitStack() as stack:
        silent = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(3):  # the queue is full: the sidecar waits for its first connection
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(silent.getsockname())
        process = stack.enter_context(audited(f"http://127.0.0.1:{silent.getsockname()[1]}", tmp_path / "audit.jsonl"))
        process.process.send_signal(signal.SIGHUP)
        eventually(lambda: "no connection to" in process.log)
        process.process.terminate()
        assert process.process.wait(timeout=60) == 0


def test_on_a_full_disk_nothing_is_sent_unless_the_operator_wants_it() -> None:
    origin = Origin()
    with serving(origin, lifespan="off") as url:
        with audited(url, Path("/dev/full")) as process:
            refused = answer(process.url, "t1", 0)
            assert (refused.status_code, refused.json()["code"]) == (503, "policy_unavailable")
            assert answer(process.url, "t1", 1).status_code == 409
            assert origin.received == []
            assert process.log.count("resumes are refused") == 1
        with audited(url, Path("/dev/full"), "--no-audit-required") as process:
            assert answer(process.url, "t2", 0).status_code == 200
    assert origin.received == ["t2"]


def test_a_changed_file_is_found_by_the_command(tmp_path: Path) -> None:
    origin, path = Origin(), tmp_path / "audit.jsonl"
    with serving(origin, lifespan="off") as url, audited(url, path, "--audit-answers") as process:
        assert answer(process.url, "t1", 0).status_code == 200
    path.write_bytes(path.read_bytes().replace(b'"value":"yes"', b'"value":"no!"'))
    command = [*COMMAND, "audit", "verify", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, "  Line 2 was changed." in done.stdout.splitlines()) == (1, True)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--authorize", "http://127.0.0.1:1"), "--authorize"),
        (("--audit", "{}/audit.jsonl", "--authorize", "http://127.0.0.1:1"), "--authorize and --audit"),
        (("--audit", "{}/audit.jsonl", "--vendor-resumes", "guard"), None),
        ((), None),
    ],
)
def test_a_sidecar_that_passes_todays_answers_logs_a_warning_if_it_has_a_policy(
    tmp_path: Path, options: tuple[str, ...], named: str | None
) -> None:
    given = "--backend", "agent-protocol", "--port", "0", *(option.format(tmp_path) for option in options)
    with serving(Origin(), lifespan="off") as url, sidecar("--upstream", url, *given) as process:
        if named is None:
            assert "pass without" not in process.log
        else:
            warning = f"answers in the backend's own convention pass without {named}:"
            eventually(lambda: warning in process.log, "the warning is in the log")
