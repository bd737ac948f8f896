"""`docs/migrate.md` from top to bottom: each command prints what the page shows, on a real LangGraph server."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.drivers import DRIVERS
from tests.servers.run import running
from tests.support.matrix import chosen
from tests.support.sidecar import Sidecar, sidecar
from tests.support.waiting import eventually
from tests.support.world import Place, World

PAGE = Path(__file__).parents[2] / "docs/migrate.md"
BACKENDS = [name for name in chosen("AP_TEST_BACKENDS", ("langgraph",)) if name == "langgraph"]
"""The server of the page's examples; none of the matrix's other servers."""


@dataclass(frozen=True)
class Command:
    """A block of commands under a heading, and the block with its output."""

    code: str
    output: str

    @property
    def serve(self) -> list[str]:
        """The options of `ap-resume-shim serve`; empty for another command."""
        words = shlex.split(self.code)
        return words[2:] if words[:2] == ["ap-resume-shim", "serve"] else []


def commands(part: str, step: str) -> list[Command]:
    """The commands of a step of a part."""
    (section,) = re.findall(rf"^## {part}$(.*?)(?=^## |\Z)", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    (found,) = re.findall(rf"^### \d\. {step}$(.*?)(?=^### |\Z)", section, re.DOTALL | re.MULTILINE)
    blocks = re.findall(r"^```(\w+)\n(.*?)^```", found, re.DOTALL | re.MULTILINE)
    outputs = [code if kind != "bash" else "" for kind, code in blocks[1:]] + [""]
    return [Command(code, output) for (kind, code), output in zip(blocks, outputs, strict=True) if kind == "bash"]


@dataclass(frozen=True)
class Addresses:
    """What the page's variables stand for."""

    server: str
    shim: Sidecar
    world: World

    def run(self, command: Command) -> str:
        """Run a command, with a thread that asks one question, and works for a second then."""
        env = {"SERVER": self.server, "SHIM": self.shim.url, "HEALTH": self.shim.health.removesuffix("/-")}
        if "$THREAD" in command.code:
            env["THREAD"] = self.world.thread("slowask", secs=1)
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        code = command.code.replace('"agent"', '"slowask"')
        ran = subprocess.run(["bash", "-euc", code], env={**os.environ, **env, "PATH": path}, capture_output=True)
        assert ran.returncode == 0, ran.stderr.decode()
        return ran.stdout.decode()


@contextmanager
def served(backend: str, command: Command, server: str) -> Iterator[Addresses]:
    """The sidecar that a command of the page starts, on free ports, in front of a server."""
    options = command.serve
    assert options[:6] == ["--upstream", "$SERVER", "--port", "8063", "--health-port", "8064"]
    with (
        sidecar("--upstream", server, "--port", "0", "--health-port", "0", *options[6:]) as shim,
        World(Place(shim.url, list), DRIVERS[backend]) as world,
    ):
        yield Addresses(server, shim, world)


def same(printed: str, shown: str) -> bool:
    """Whether a command printed what the page shows: a JSON object has at least those members."""
    if shown.startswith("{"):
        value: dict[str, Any] = json.loads(printed)
        return bool(value | json.loads(shown) == value)
    if shown[:3].isdigit():
        return sorted(printed.split()) == sorted(shown.split())
    moment = r"since \S+,"
    return re.sub(moment, "since then,", printed) == re.sub(moment, "since then,", shown)


def expect(addresses: Addresses, command: Command) -> None:
    assert command.output
    printed = addresses.run(command)
    assert same(printed, command.output), printed


SERVER, CLIENT = "If you run a server", "If you write a client"


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_path_of_a_server(backend: str) -> None:
    start, ready = commands(SERVER, "Put the shim in front")
    (report,) = commands(SERVER, "Read the report")
    guard, clicks = commands(SERVER, "Guard the answers")
    (native,) = commands(SERVER, "Implement the routes")
    (passed,) = commands(SERVER, "Remove the shim")
    with running(backend) as server:
        with served(backend, start, server) as addresses:
            expect(addresses, ready)
            assert addresses.run(clicks).split() == ["200", "200"], "it is only observed"
            eventually(lambda: same(addresses.run(report), report.output), report.output)
        with served(backend, guard, server) as addresses:
            expect(addresses, clicks)
    # A server that has the routes: the same one, with the middleware inside.
    with running(backend, inside=True) as server, served(backend, guard, server) as addresses:
        expect(addresses, native)
        expect(addresses, passed)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_path_of_a_client(backend: str) -> None:
    guard, _ = commands(SERVER, "Guard the answers")
    with running(backend) as server, served(backend, guard, server) as addresses:
        (answer,) = commands(CLIENT, "Send the answer with PATCH")
        expect(addresses, answer)
        (retired,) = commands(CLIENT, "Retire the old way")
        eventually(lambda: same(addresses.run(retired), retired.output), retired.output)
        for step in ("Show the refusals", "Make retries safe", "Let old and new clients answer side by side"):
            (command,) = commands(CLIENT, step)
            expect(addresses, command)


def test_the_page_has_no_other_commands() -> None:
    parts = {
        SERVER: (
            "Put the shim in front",
            "Read the report",
            "Guard the answers",
            "Implement the routes",
            "Remove the shim",
        ),
        CLIENT: (
            "Send the answer with PATCH",
            "Show the refusals",
            "Make retries safe",
            "Let old and new clients answer side by side",
            "Retire the old way",
        ),
    }
    ran = sum(len(commands(part, step)) for part, steps in parts.items() for step in steps)
    variables = 1
    assert PAGE.read_text().count("```bash") == ran + variables
