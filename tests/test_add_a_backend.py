"""The page on adding a backend, followed to the letter in a copy of the project."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.servers.process import Process, free_port
from tests.servers.run import WITNESS, answering

ROOT = Path(__file__).parent.parent
_PAGE = (ROOT / "docs/how-to/add-a-backend.md").read_text("utf-8").partition("\n## A profile in this package\n")[2]
PAGE = _PAGE.partition("\n## A dialect in Python\n")[0]
LISTED = re.findall(r"^- `(\S+)`: ", PAGE, re.MULTILINE)
BLOCKS = {
    name: text for name, _, text in re.findall(r"^`(\S+)`:\n\n(`{3,})\w+\n(.*?)^\2$", PAGE, re.DOTALL | re.MULTILINE)
}
"""The contents of files, by name."""
COMMANDS = "".join(re.findall(r"^```bash\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)).splitlines()
RESULTS = "/tmp/desk"
SCANNING = "desk or recognises or links or listed"
"""Tests that are about the new backend, or about all of them at once."""


class Checkout:
    """A copy of the files that git tracks."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True)
        for name in filter(None, tracked.stdout.split("\0")):
            if (ROOT / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, folder / name)
        self._before = self._contents()

    def run(self, command: str, **variables: str) -> str:
        """Run a shell command on the code of the copy, with this Python; returns what it prints."""
        programs = f"""
            python() {{ {sys.executable} -B "$@"; }}
            pytest() {{ python -m pytest -q -p no:cacheprovider "$@"; }}
            ruff() {{ python -m ruff "$@" --no-cache; }}
            ap-resume-shim() {{ python -m ap_resume_shim "$@"; }}
        """
        given = {**os.environ, "PYTHONPATH": str(self.folder), "PYTHONDONTWRITEBYTECODE": "1", **variables}
        shell = ["bash", "-euo", "pipefail", "-c", f"{programs}\n{command}"]
        ended = subprocess.run(shell, cwd=self.folder, env=given, capture_output=True, text=True)
        assert ended.returncode == 0, f"{command}\n{ended.stdout}\n{ended.stderr}"
        return ended.stdout

    def touched(self) -> set[str]:
        """Return the names of the files that were added, changed or deleted."""
        now, before = self._contents(), self._before
        return {name for name in now.keys() | before.keys() if now.get(name) != before.get(name)}

    def _contents(self) -> dict[str, bytes]:
        files = (path for path in self.folder.rglob("*") if path.is_file())
        return {str(path.relative_to(self.folder)): path.read_bytes() for path in files}


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    if not (ROOT / ".git").exists():
        pytest.skip("this is no git checkout")
    return Checkout(tmp_path / "checkout")


@contextmanager
def desk(checkout: Checkout, folder: Path) -> Iterator[str]:
    """Start the test server in this environment, which has what the script needs; yields its URL."""
    script = [sys.executable, "-B", str(checkout.folder / "tests/servers/desk_server.py"), "--port", str(free_port())]
    process = Process(script, folder / "server.log", cwd=folder)
    try:
        yield process.wait_until(lambda: answering(process, WITNESS), 30)
    finally:
        process.stop()


def test_a_new_backend_touches_the_files_that_the_page_lists(checkout: Checkout, tmp_path: Path) -> None:
    for name, text in BLOCKS.items():
        (checkout.folder / name).write_text(text, "utf-8")
    describe, explain, results, suite, write, scanning, lint = COMMANDS
    assert "The id of a session." in checkout.run(describe)
    assert "POST /tasks/t1/reply\n" in checkout.run(explain)

    results, suite, write = (command.replace(RESULTS, str(tmp_path / "desk")) for command in (results, suite, write))
    checkout.run(results)
    around, _, suite = suite.partition("python -m tests.servers desk -- ")
    assert " desk," in checkout.run("python -m tests.servers --help")
    with desk(checkout, tmp_path) as url:
        checkout.run(f"export {around}; {suite}/test_values.py -k background", AP_TEST_DESK_URL=url)
    checkout.run(write)
    checkout.run(f"{scanning} -k '{SCANNING}'")
    assert lint == "make lint"
    checkout.run("ruff check . && ruff format --check .")
    assert checkout.touched() == set(LISTED) == set(BLOCKS)
