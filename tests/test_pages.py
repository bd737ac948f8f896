"""The commands and files of short pages: servers without threads or runs, removal, upgrades, sizing."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from ap_resume_shim import ResumeShim
from ap_resume_shim.sidecar.app import check
from ap_resume_shim.sidecar.settings_sources import read
from tests.support.agent import PROTOCOL, Agent, resume
from tests.support.calling import CLIENT
from tests.support.programs import need
from tests.support.redis_server import need_redis, redis_server
from tests.support.serving import serving
from tests.test_docs import ROOT, blocks

THREADS = ROOT / "docs/how-to/servers-without-threads.md"
REMOVE = ROOT / "docs/how-to/remove.md"
STABILITY = ROOT / "docs/reference/stability.md"
SIZE = ROOT / "docs/how-to/size.md"


class Desk:
    """The server of both profiles: a case that asks, and a job that asks."""

    def __init__(self) -> None:
        self.case: dict[str, Any] = {"state": "asking", "question": "Close it?"}
        self.job: dict[str, Any] = {"id": "j1", "state": "paused", "asks": "Go on?"}
        self.answers: list[Any] = []

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/cases/c1", self.get_case),
                Route("/cases/c1/reply", self.reply, methods=["POST"]),
                Route("/jobs/j1", self.get_job),
                Route("/jobs/j1/continue", self.carry_on, methods=["POST"]),
            ]
        )

    async def get_case(self, _: Request) -> JSONResponse:
        return JSONResponse(self.case)

    async def reply(self, request: Request) -> JSONResponse:
        self.answers.append((await request.json())["reply"])
        self.case = {"state": "closed"}
        return JSONResponse(self.case)

    async def get_job(self, _: Request) -> JSONResponse:
        return JSONResponse(self.job)

    async def carry_on(self, request: Request) -> JSONResponse:
        self.answers.append(await request.json())
        self.job = {"id": "j1", "state": "done", "result": {"done": True}}
        return JSONResponse(self.job)


@pytest.mark.parametrize(("number", "thread"), [(0, "c1"), (1, "j1")], ids=["no-runs", "no-threads"])
@pytest.mark.parametrize("route", ["", "/wait", "/stream"])
def test_a_profile_without_runs_or_threads_guards_the_server(
    number: int, thread: str, route: str, tmp_path: Path
) -> None:
    (tmp_path / "my.toml").write_text(blocks(THREADS, "toml")[number])
    desk = Desk()
    with serving(ResumeShim(desk.app(), profile=tmp_path / "my.toml")) as url:
        body = {"thread_id": thread, "input": "yes"}
        first, second = (CLIENT.patch(f"{url}/runs/resume{route}", json=body, timeout=20) for _ in range(2))
    assert (first.status_code, second.status_code, desk.answers) == (200, 409, ["yes"]), first.text
    assert second.json()["code"] == "thread_not_interrupted"


def test_explain_prints_the_requests_of_the_first_profile(tmp_path: Path) -> None:
    (tmp_path / "cases.toml").write_text(blocks(THREADS, "toml")[0])
    (line,) = blocks(THREADS, "bash")
    command = line.replace("ap-resume-shim", f"{sys.executable} -m ap_resume_shim")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    shown = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, env=environment, capture_output=True, check=True, text=True
    ).stdout
    assert "POST /cases/c1/reply" in shown


def test_what_the_guard_stored_can_be_deleted() -> None:
    report, delete = blocks(REMOVE, "bash")
    assert shlex.split(report) == ["ap-resume-shim", "report", "http://127.0.0.1:8064"]
    need_redis()
    cli = need("redis-cli", required="AP_TEST_REDIS")
    with redis_server() as store, serving(ResumeShim(Agent(), PROTOCOL, guard=store.url)) as url:
        assert resume(url).status_code == 200
        redis = [cli, "-u", store.url]
        subprocess.run([*redis, "set", "other", "kept"], check=True, capture_output=True)
        assert len(keys(redis)) > 1
        subprocess.run(["bash", "-c", delete.replace("redis-cli", shlex.join(redis))], check=True, capture_output=True)
        assert keys(redis) == ["other"]


def keys(redis: list[str]) -> list[str]:
    return subprocess.run([*redis, "keys", "*"], check=True, capture_output=True, text=True).stdout.split()


def test_the_check_before_an_upgrade_exists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("shim.toml").write_text('upstream = "http://127.0.0.1:2024"\n')
    (command,) = blocks(STABILITY, "bash")
    assert shlex.split(command)[:2] == ["ap-resume-shim", "serve"]
    assert check(read(shlex.split(command)[2:])) == []


def test_the_resources_have_the_form_of_a_container() -> None:
    (block,) = blocks(SIZE, "yaml")
    assert yaml.safe_load(block)["resources"]["limits"] == {"memory": "256Mi"}


def test_the_figures_are_those_of_the_page_on_scaling() -> None:
    scaling = " ".join((ROOT / "docs/explanation/scaling.md").read_text().split())
    for figure in ("1.9 ms", "1.3 ms", "0.05 ms", "57 MiB", "13 KiB", "250 bytes", "1.6 kB", "| 81 |", "| 215 |"):
        assert figure.strip("| ") in SIZE.read_text()
        assert figure in scaling
