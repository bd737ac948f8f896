"""The blocks of `docs/how-to/frameworks.md`, each with its framework in an environment of its own, under uvicorn."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.servers.process import Process, free_port
from tests.servers.run import script_environment
from tests.test_docs import ROOT, blocks

PAGE = ROOT / "docs/how-to/frameworks.md"
APPS = Path(__file__).parent / "apps"
WRAPPED = "Falcon, Sanic, BlackSheep, and other ASGI apps"
SECTIONS = {
    "starlette": ("FastAPI and Starlette", []),
    "fastapi": ("FastAPI and Starlette", ["fastapi==0.165.0"]),
    "django": ("Django", ["django==5.2.9"]),
    "litestar": ("Litestar", ["litestar==2.25.0"]),
    "quart": ("Quart", ["quart==0.20.0"]),
    "falcon": (WRAPPED, ["falcon==4.4.0"]),
    "sanic": (WRAPPED, ["sanic==25.12.1"]),
    "blacksheep": (WRAPPED, ["blacksheep==2.6.4"]),
    "fastmcp": ("FastMCP", ["fastmcp==4.1.6"]),
}
"""For each app of `apps`: the section of the page, and what to install."""
INSIDE_LITESTAR = """
from agents import routes
from litestar import Litestar
from litestar.middleware import DefineMiddleware

from ap_resume_shim import ResumeShim

app = Litestar(routes, middleware=[DefineMiddleware(ResumeShim, backend="agent-protocol")])
"""
INSTALL = 300.0
"""Seconds until a server must be ready; the first start also installs its packages."""


def block(section: str) -> str:
    """The one Python block of a section of the page."""
    text = re.split(rf"^## {re.escape(section)}\n", PAGE.read_text(), flags=re.MULTILINE)[1].split("\n## ")[0]
    (code,) = re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    return str(code)


def pinned(*names: str) -> list[str]:
    """The versions of these packages in `constraints.txt`."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return [line for line in lines if line.partition("==")[0] in names]


@contextmanager
def running(name: str, code: str, folder: Path) -> Iterator[httpx.Client]:
    """Run the page's command on `code`, beside the app of that name."""
    shutil.copy(APPS / "agent.py", folder)
    shutil.copy(APPS / f"{name}_app.py", folder / "agents.py")
    packages = [*SECTIONS[name][1], *pinned("uvicorn", "starlette", "httpx", "pydantic")]
    with served(code, packages, folder, ready="/threads/t") as client:
        yield client


@contextmanager
def served(code: str, packages: list[str], folder: Path, *, ready: str) -> Iterator[httpx.Client]:
    """Run the page's command on `code` in an environment with these packages, until `ready` is answered with 200."""
    (folder / "shim.py").write_text(code)
    port = free_port()
    options = [option for package in packages for option in ("--with", package)]
    command = shlex.split(blocks(PAGE, "bash")[0].replace("8063", str(port)))
    uv = ["uv", "run", "--quiet", "--no-project", "--python", sys.executable, *options, "python", "-m"]
    paths = {"PYTHONPATH": os.pathsep.join((str(folder), str(ROOT))), "PORT": str(port)}
    process = Process([*uv, *command], folder / "log", cwd=folder, env={**script_environment(), **paths})
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            process.wait_until(lambda: responds(client, ready), INSTALL)
            yield client
    finally:
        process.stop()


def responds(client: httpx.Client, path: str) -> bool | None:
    try:
        return client.get(path).status_code == 200 or None
    except httpx.TransportError:
        return None


def resume(client: httpx.Client) -> httpx.Response:
    return client.patch("/runs/resume/wait", json={"thread_id": "t", "input": "approve"})


@pytest.mark.parametrize("name", SECTIONS)
def test_one_of_two_answers_reaches_the_agent(name: str, tmp_path: Path) -> None:
    with running(name, block(SECTIONS[name][0]), tmp_path) as client:
        assert client.get("/threads/t").json()["status"] == "interrupted"
        assert client.patch("/nothing").status_code in (404, 405)
        first, second = resume(client), resume(client)
        assert (first.status_code, first.json()["values"]) == (200, {"answers": ["approve"]}), first.text
        assert (second.status_code, second.json()["code"]) == (409, "thread_not_interrupted")
        assert client.get("/threads/t").json()["values"] == {"answers": ["approve"]}


def test_the_middleware_of_litestar_does_not_see_the_routes(tmp_path: Path) -> None:
    with running("litestar", INSIDE_LITESTAR, tmp_path) as client:
        assert resume(client).status_code in (404, 405)
        assert client.get("/threads/t").json()["status"] == "interrupted"


def test_the_pages_check_names_the_shim(tmp_path: Path) -> None:
    with running("starlette", block("FastAPI and Starlette"), tmp_path) as client:
        command = blocks(PAGE, "bash")[1].replace("http://127.0.0.1:8063", str(client.base_url).rstrip("/"))
        shown = subprocess.run(["bash", "-c", command], capture_output=True, check=True, text=True).stdout
        assert '"code":"thread_not_found"' in shown.replace(" ", "")


def test_the_page_has_no_other_blocks_than_these() -> None:
    found = re.findall(r"^```(\w+)", PAGE.read_text(), re.MULTILINE)
    assert found == ["bash", *["python"] * 6, "bash"]
