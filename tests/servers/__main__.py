"""Run a command with real agent servers around it.

    python -m tests.servers langgraph aegra:inside -- pytest tests/real
    python -m tests.servers --install langgraph langgraph-js

The command finds the servers' addresses in AP_TEST_LANGGRAPH_URL, AP_TEST_AEGRA_INSIDE_URL and so on.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import NoReturn

from .process import StartError
from .run import KINDS, Server, install, start, variable

AT_ONCE = 2
"""Servers that start at the same time."""


def main(argv: list[str]) -> int:
    own, command = split(argv)
    parser = argparse.ArgumentParser(
        prog="python -m tests.servers",
        usage="%(prog)s [--install] SERVER[:inside] ... [-- COMMAND ...]",
        description=f"SERVER is one of {', '.join(KINDS)}; `:inside` puts the shim into the server.",
    )
    parser.add_argument("--install", action="store_true", help="prepare the environments, start nothing")
    parser.add_argument("servers", nargs="+", type=wanted)
    given = parser.parse_args(own)
    if given.install:
        for name in dict.fromkeys(name for name, _ in given.servers):
            install(name)
        return 0
    if not command:
        parser.error("no command given after --")
    signal.signal(signal.SIGTERM, leave)
    try:
        return around(given.servers, command)
    except StartError as error:
        print(error, file=sys.stderr)
        return 1


def around(servers: list[tuple[str, bool]], command: list[str]) -> int:
    """Start the servers, run the command, stop the servers."""
    with ExitStack() as running:

        def launch(server: tuple[str, bool]) -> tuple[str, str]:
            name, inside = server
            began = time.monotonic()
            started: Server = running.enter_context(start(name, inside=inside))
            print(f"{label(server)} at {started.url} after {time.monotonic() - began:.1f} s", file=sys.stderr)
            return variable(name, inside=inside), started.url

        with ThreadPoolExecutor(AT_ONCE) as pool:
            addresses = dict(pool.map(launch, servers))
        return subprocess.run(command, env=os.environ | addresses).returncode


def split(argv: list[str]) -> tuple[list[str], list[str]]:
    """Our own arguments, and the command after `--`."""
    if "--" not in argv:
        return argv, []
    border = argv.index("--")
    return argv[:border], argv[border + 1 :]


def wanted(text: str) -> tuple[str, bool]:
    """`name` or `name:inside`."""
    name, _, place = text.partition(":")
    if name not in KINDS or place not in ("", "inside") or (place and not KINDS[name].inside):
        raise argparse.ArgumentTypeError(f"unknown server {text!r}")
    return name, place == "inside"


def label(server: tuple[str, bool]) -> str:
    name, inside = server
    return f"{name}-inside" if inside else name


def leave(_signum: int, _frame: object) -> NoReturn:
    raise SystemExit(143)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
