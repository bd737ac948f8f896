"""Runs a client in a process of its own, which receives calls and returns what the client's user sees."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.servers.npm import modules
from tests.servers.run import script_environment
from tests.support.programs import need

PROGRAMS = Path(__file__).parent / "programs"
MASTRA = ("--legacy-peer-deps",)
"""The options of `npm install`: the peer dependencies of Mastra's packages contradict each other."""
PATIENCE = 90.0
"""Maximum duration of a call, in seconds."""


class Program:
    """A running client: each call is a line of JSON on its standard input, each result one on its standard output."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self._process, self._log = process, log

    def call(self, function: str, **arguments: Any) -> Any:
        """Call one of the program's functions. Fails if it fails, unlike a client whose exceptions it returns."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps({"function": function, "arguments": arguments}) + "\n")
        self._process.stdin.flush()
        watch = threading.Timer(PATIENCE, self._process.kill)
        watch.start()
        line = self._process.stdout.readline()
        watch.cancel()
        outcome = json.loads(line) if line else {"failed": "the program ended"}
        if "failed" in outcome:
            pytest.fail(f"{function}: {outcome['failed']}\n{self._log.read_text()}")
        return outcome["result"]


@contextmanager
def program(name: str) -> Iterator[Program]:
    """Run the client `{language}/{name}` during the block: `py/agno.py`, `js/ag_ui.mjs`."""
    with tempfile.TemporaryDirectory() as folder:
        command = _python(name) if name.endswith(".py") else _node(name, Path(folder))
        log = Path(folder, "log")
        with log.open("w") as errors:
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=script_environment(),
                cwd=folder,
            )
        try:
            yield Program(process, log)
        finally:
            process.kill()
            process.wait()
            assert process.stdin and process.stdout
            process.stdin.close()
            process.stdout.close()


def packages(language: str) -> Path:
    """The folder with the packages of the clients in a folder of `programs`, installed on first use."""
    return modules(PROGRAMS / language, *(MASTRA if language == "mastra" else ()))


def _python(name: str) -> list[str]:
    return ["uv", "run", "--quiet", "--no-project", "--script", str(PROGRAMS / name)]


def _node(name: str, folder: Path) -> list[str]:
    """Node.js looks for packages beside the program, so that it runs in a copy."""
    language, _, script = name.partition("/")
    node = need("node", required="AP_TEST_NODE")
    for part in (PROGRAMS / name, PROGRAMS / "serve.mjs"):
        shutil.copy(part, folder)
    (folder / "node_modules").symlink_to(packages(language))
    return [node, str(folder / script)]


def bundle(name: str) -> bytes:
    """A program of `programs/js` and all that it imports, as one module for browsers."""
    esbuild = packages("js") / ".bin" / "esbuild"
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "node_modules").symlink_to(packages("js"))
        shutil.copy(PROGRAMS / "js" / name, folder)
        options = ("--bundle", "--format=esm", "--keep-names", '--define:process.env.NODE_ENV="production"')
        made = subprocess.run([esbuild, name, *options], cwd=folder, stdout=subprocess.PIPE, check=True)
    return made.stdout


def install() -> None:
    """Prepare the environments of all clients."""
    for manifest in PROGRAMS.glob("*/package.json"):
        packages(manifest.parent.name)
    for script in (PROGRAMS / "py").glob("*.py"):
        environment = {**script_environment(), "AP_TEST_INSTALL": "1"}
        subprocess.run(_python(f"py/{script.name}"), stdin=subprocess.DEVNULL, env=environment, check=True)
