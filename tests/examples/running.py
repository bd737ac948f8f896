"""Runs the commands in the first comment of an example, at other ports than those that the example names."""

from __future__ import annotations

import ast
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.servers.process import Process
from tests.support.calling import CLIENT
from tests.support.sidecar import START


def comment(file: Path) -> str:
    """The first comment of a file: a docstring, lines that begin with `#`, or a comment of HTML."""
    text = file.read_text()
    if file.suffix == ".py":
        return ast.get_docstring(ast.parse(text), clean=False) or ""
    if file.suffix == ".html":
        return text.partition("<!--")[2].partition("-->")[0]
    return "\n".join(line[2:] for line in text.removeprefix("#!/usr/bin/env bash\n").split("\n\n")[0].splitlines())


def commands(file: Path, ports: Mapping[int, int] | None = None) -> list[str]:
    """The commands in that comment, with other ports. Commands that install packages are left out."""
    found = re.findall(r"^ {4}(\S.*)$", moved(comment(file), ports or {}), re.MULTILINE)
    return [command for command in found if not command.startswith("pip ")]


def moved(text: str, ports: Mapping[int, int]) -> str:
    """The text with other ports. Raises `ValueError` if it does not have one of them."""
    for named, port in ports.items():
        text, count = re.subn(rf"(?<=[ :=]){named}\b", str(port), text)
        if not count:
            raise ValueError(f"there is no port {named}: {text}")
    return text


def environment(**more: str) -> dict[str, str]:
    """An environment in which the programs of this Python come first."""
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"], "/usr/sbin"))
    return {**os.environ, "PATH": path, "PYTHONUNBUFFERED": "1", **more}


@contextmanager
def server(command: str, folder: Path, ready: str, **more: str) -> Iterator[None]:
    """Run a server during the block, which begins when the URL `ready` has a response."""
    with process(command, folder, **more) as started:
        started.wait_until(lambda: responds(ready), START)
        yield


@contextmanager
def process(command: str, folder: Path, **more: str) -> Iterator[Process]:
    """Run a command during the block."""
    log = folder / f"{len(list(folder.glob('*.log')))}.log"
    started = Process(shlex.split(command), log, cwd=folder, env=environment(**more))
    try:
        yield started
    finally:
        started.stop()


def responds(url: str) -> bool | None:
    try:
        return CLIENT.get(url).status_code < 500 or None
    except httpx.TransportError:
        return None


def run(command: str, folder: Path, typed: str = "") -> str:
    """Run a command to its end; return what it prints. `typed` is its input."""
    ran = subprocess.run(
        ["bash", "-c", command], cwd=folder, env=environment(), input=typed, text=True, capture_output=True, timeout=120
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout
