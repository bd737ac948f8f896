"""Start one real agent server: `with start("langgraph") as server: httpx.get(server.url + "/info")`."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from tests.support.redis_server import redis_server

from .launch import HERE
from .postgres import Postgres
from .process import Process, StartError, free_port

FIRST_START = 600.0
"""Seconds until a server must be ready; the first start also installs its packages."""


@dataclass(frozen=True)
class Kind:
    """How a server is started. `inside` is the custom app that puts the shim into it."""

    script: str
    inside: str | None = None
    postgres: str | None = None
    """The environment variable for the URL of a PostgreSQL database, if the server needs one."""
    redis: str | None = None
    """The same for a Redis server."""
    ready: str = "/info"
    """A path that is answered with 200 when the server is ready."""


WITNESS = "/__witness"
KINDS = {
    "langgraph": Kind("langgraph_current.py", "inside_langgraph.py:app"),
    "langgraph-old": Kind("langgraph_old.py", "inside_langgraph.py:app"),
    "langgraph-js": Kind("langgraph_js.py"),
    "langhost": Kind("langhost.py", postgres="DATABASE_URI", redis="REDIS_URI"),
    "langrove": Kind("langrove.py", postgres="LANGROVE_DATABASE_URL", redis="LANGROVE_REDIS_URL", ready=WITNESS),
    "aegra": Kind("aegra.py", "inside_aegra.py:app", postgres="DATABASE_URL"),
    **{
        script.stem.removesuffix("_server").replace("_", "-"): Kind(script.name, ready=WITNESS)
        for script in sorted(HERE.glob("*_server.py"))
    },
}
"""The servers. Every script `NAME_server.py` is one, whose app has the witness in front of it."""


@dataclass
class Server:
    """A running server. Leaving its context, or `stop`, ends exactly the processes that were started for it."""

    name: str
    url: str
    log_path: Path
    stores: dict[str, str]
    """The URLs of its database and of its Redis server, by environment variable."""
    _cleanup: ExitStack = field(repr=False)

    def stop(self) -> None:
        self._cleanup.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def start(name: str, *, inside: bool = False, app: Path | None = None, beside: Server | None = None) -> Server:
    """Start a server and wait until it answers; `inside` puts the shim into the server itself, `app` is a folder of
    graphs in place of the tests' own. `beside` is a server whose stores this one shares, as another replica.

    Logs go to the folder AP_TEST_LOGS if that is set, otherwise they vanish with the server.
    """
    kind = KINDS[name]
    if inside and not kind.inside:
        raise ValueError(f"{name} cannot host the shim")
    cleanup = ExitStack()
    try:
        label = f"{name}-inside" if inside else name
        stores = start_stores(kind, label, cleanup) if beside is None else beside.stores
        process = launch(kind, label, kind.inside if inside else None, cleanup, app, stores)
        url = process.wait_until(lambda: answering(process, kind.ready), FIRST_START)
    except BaseException as error:
        cleanup.close()
        if isinstance(error, StartError):
            raise StartError(f"{name}: {error}") from None
        raise
    return Server(name, url, process.log, stores, cleanup)


@contextmanager
def running(name: str, *, inside: bool = False) -> Iterator[str]:
    """The URL of a server: one that `python -m tests.servers` runs, else one that is started for the block alone."""
    if url := os.environ.get(variable(name, inside=inside)):
        yield url
    else:
        with start(name, inside=inside) as server:
            yield server.url


def variable(name: str, *, inside: bool = False) -> str:
    """The environment variable for a server's URL, such as AP_TEST_LANGGRAPH_OLD_URL."""
    return f"AP_TEST_{name.upper().replace('-', '_')}{'_INSIDE' if inside else ''}_URL"


def logs_folder() -> Path | None:
    """The folder AP_TEST_LOGS, which is created."""
    if "AP_TEST_LOGS" not in os.environ:
        return None
    logs = Path(os.environ["AP_TEST_LOGS"])
    logs.mkdir(parents=True, exist_ok=True)
    return logs


def temporary_folder(cleanup: ExitStack) -> Path:
    """A folder that `cleanup` removes."""
    folder = tempfile.mkdtemp(prefix="ap-resume-shim-")
    cleanup.callback(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def start_stores(kind: Kind, label: str, cleanup: ExitStack) -> dict[str, str]:
    """Start the stores that a server needs. Returns their URLs, by environment variable."""
    stores = {}
    if kind.postgres:
        log = (logs_folder() or temporary_folder(cleanup)) / f"{label}-{free_port()}-postgres.log"
        stores[kind.postgres] = cleanup.enter_context(Postgres(log)).url
    if kind.redis:
        stores[kind.redis] = cleanup.enter_context(redis_server()).url
    return stores


def launch(
    kind: Kind, label: str, http_app: str | None, cleanup: ExitStack, app: Path | None, stores: dict[str, str]
) -> Process:
    """Start a server; `cleanup` learns how to undo that."""
    folder = temporary_folder(cleanup)
    port = free_port()
    command = [*script_command(kind), "--port", str(port), "--workdir", f"{folder}/work"]
    if http_app:
        command += ["--http-app", http_app]
    if app:
        command += ["--app", str(app)]
    log = (logs_folder() or folder) / f"{label}-{port}.log"
    process = Process(command, log, cwd=folder, env=script_environment() | stores)
    cleanup.callback(process.stop)
    return process


def install(name: str) -> None:
    """Prepare the environment of a server without starting it."""
    subprocess.run([*script_command(KINDS[name]), "--install"], env=script_environment(), check=True)


def script_command(kind: Kind) -> list[str]:
    return ["uv", "run", "--quiet", "--no-project", "--script", str(HERE / kind.script)]


def script_environment() -> dict[str, str]:
    """The environment in which uv finds the interpreters of this machine, pyenv's included, and fetches none."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    interpreters = [str(path) for minor in (11, 12) for path in sorted(pyenv.glob(f"versions/3.{minor}.*/bin"))]
    inherited = [path for path in os.environ["PATH"].split(os.pathsep) if Path(path) != pyenv / "shims"]
    beside = str(Path(sys.executable).parent)  # where this project's own environment has uv
    ours = {"PATH": os.pathsep.join([*interpreters, *inherited, beside]), "UV_PYTHON_DOWNLOADS": "never"}
    return {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"} | ours


def answering(process: Process, ready: str) -> str | None:
    """The server's address once it answers. Read from its log, as `langgraph dev` may move to another port."""
    output = process.output()
    if "EADDRINUSE" in output:  # langgraphjs goes on running without a port
        raise StartError(f"the port was taken:\n{process.tail()}")
    announced = re.search(r"http://(?:127\.0\.0\.1|localhost):(\d+)", output)
    if not announced:
        return None
    url = f"http://127.0.0.1:{announced[1]}"
    try:
        with urllib.request.urlopen(url + ready, timeout=5) as response:
            return url if response.status == 200 else None
    except (urllib.error.URLError, TimeoutError, ConnectionError):
        return None
