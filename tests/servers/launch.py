"""What the start scripts have in common. Standard library only: each of them runs in an environment of its own."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

HERE = Path(__file__).parent
APPS = HERE / "apps"
CHECKOUT = HERE.parents[1]
USERS = "AP_TEST_USERS"
"""With this environment variable, the servers of LangGraph's family authenticate the users of `apps/py/users.py`."""


@dataclass(frozen=True)
class Options:
    """The command line of a start script."""

    port: int
    workdir: Path
    http_app: str | None
    app: str
    install: bool


def options(description: str | None) -> Options:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--port", type=int, default=2024)
    parser.add_argument("--workdir", type=Path, default=Path("server-workdir"), help="receives all state")
    parser.add_argument("--http-app", metavar="FILE:ATTRIBUTE", help="custom app, relative to the graphs")
    parser.add_argument("--app", default="py", help="folder of the graphs")
    parser.add_argument("--install", action="store_true", help="prepare the environment, start nothing")
    given = parser.parse_args()
    return Options(given.port, given.workdir.resolve(), given.http_app, given.app, given.install)


def lay_out(app: str, config: str, given: Options) -> None:
    """Copy the graphs into the work folder, so that neither state nor byte code lands in the checkout."""
    shutil.copytree(APPS / app, given.workdir, dirs_exist_ok=True)
    path = given.workdir / config
    settings: dict[str, Any] = json.loads(path.read_text())
    if given.http_app:
        settings |= {"http": {"app": f"./{given.http_app}"}}
    if USERS in os.environ:
        settings |= {"auth": {"path": "./users.py:auth"}}
    path.write_text(json.dumps(settings, indent=2))


def become(program: str | Path, *arguments: str, workdir: Path, **variables: str) -> NoReturn:
    """Replace this process by the server, which sees the package of this checkout and the work folder."""
    paths = [os.environ.get("PYTHONPATH"), str(CHECKOUT), str(workdir)]
    variables["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    variables["LANGSMITH_TRACING"] = "false"
    os.chdir(workdir)
    os.execve(program, [str(program), *arguments], os.environ | variables)


def beside_python(program: str) -> Path:
    """A console script of the environment that runs this very script."""
    return Path(sys.executable).parent / program


def serve_app(description: str | None, app: Any) -> None:
    """Serve an app with the witness in front of it: an ASGI app, or the name of a module of `tests.servers.apps`."""
    given = options(description)
    if given.install:
        return
    serve = import_module("tests.servers.apps.families.witness").serve
    serve(import_module(f"tests.servers.apps.{app}").app if isinstance(app, str) else app, given.port)


def langgraph_dev(description: str | None) -> None:
    """`langgraph dev`, which both LangGraph scripts become."""
    given = options(description)
    if given.install:
        return
    lay_out(given.app, "langgraph.json", given)
    command = ["dev", "--no-browser", "--no-reload", "--host", "127.0.0.1", "--port", str(given.port)]
    become(beside_python("langgraph"), *command, "--n-jobs-per-worker", "20", workdir=given.workdir)
