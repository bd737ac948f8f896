"""The command line: `ap-resume-shim serve`, `ap-resume-shim backends`.

Needs the extra `serve` (uvicorn, pydantic-settings). Every flag of `serve` is also an environment variable,
`AP_RESUME_SHIM_` and its name.
"""

from __future__ import annotations

import logging
import socket
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, ValidationError

from ap_resume_shim import __version__
from ap_resume_shim.backends import BACKENDS, load_backend
from ap_resume_shim.core.errors import ConfigurationError
from ap_resume_shim.core.idempotency import CREDENTIALS
from ap_resume_shim.guard import Guard, load_guard
from ap_resume_shim.guard.memory import DAY
from ap_resume_shim.middleware import ResumeShim
from ap_resume_shim.proxy import ReverseProxy
from ap_resume_shim.resumption import Limits

try:
    import uvicorn
    from pydantic_settings import BaseSettings, CliApp, SettingsConfigDict
except ImportError as missing:  # pragma: no cover - seen only without the extra
    raise SystemExit(f"{missing}. The command line needs more: pip install 'ap_resume_shim[serve]'") from None

logger = logging.getLogger("ap_resume_shim")

USAGE = """usage: ap-resume-shim COMMAND [OPTIONS]

commands:
  serve      run the sidecar: the resume routes in front of a server
  backends   list the backends

`ap-resume-shim COMMAND --help` tells the options of a command.
"""


class Serve(BaseSettings):
    """Run the sidecar: the resume routes in front of a server, everything else passed through to it."""

    model_config = SettingsConfigDict(
        env_prefix="AP_RESUME_SHIM_",
        cli_prog_name="ap-resume-shim serve",
        cli_kebab_case=True,
        cli_implicit_flags=True,
        cli_hide_none_type=True,
        extra="forbid",
    )

    upstream: Annotated[str, Field(description="address of the server, such as http://127.0.0.1:2024")]
    backend: Annotated[str, Field(description=f"auto, native, {', '.join(BACKENDS)}")] = "auto"
    host: Annotated[str, Field(description="address to listen on")] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535, description="port to listen on; 0: any free one")] = 8063
    resume_at: Annotated[
        str | None, Field(description="where the answer goes in the create-run body, such as /command/resume")
    ] = None
    lenient: Annotated[
        bool, Field(description="drop fields that the backend cannot honour, and say so in AP-Resume-Ignored")
    ] = False
    prefix: Annotated[str, Field(description="path before the backend's routes, such as /api")] = ""
    settle: Annotated[float, Field(ge=0, description="seconds that a busy thread is given before 409")] = 1.0
    guard: Annotated[
        str, Field(description="who keeps resumes apart: memory, or redis://host:port/0, shared by all sidecars")
    ] = "memory"
    guard_required: Annotated[
        bool, Field(description="answer 503 while the shared guard cannot be reached; else this process guards alone")
    ] = True
    guard_lease: Annotated[
        float, Field(gt=0, description="seconds after which the thread of a sidecar that died is free (redis)")
    ] = 30.0
    namespace: Annotated[
        str | None, Field(description="what the threads belong to; default: the upstream's address")
    ] = None
    credentials: Annotated[
        list[str], Field(description="header fields that tell callers apart, for Idempotency-Key")
    ] = list(CREDENTIALS)
    duplicate_window: Annotated[
        float, Field(ge=0, description="seconds in which a caller's same answer to the same thread is refused; 0: off")
    ] = 0.0
    keep_answers: Annotated[
        float, Field(gt=0, description="seconds that an answer is kept under its Idempotency-Key")
    ] = DAY
    connect_timeout: Annotated[float, Field(gt=0, description="seconds for a connection to the server")] = 5.0
    lookup_timeout: Annotated[float, Field(gt=0, description="seconds for each lookup")] = 30.0
    resume_timeout: Annotated[
        float, Field(gt=0, description="seconds for a resume: to the first byte of a stream, to the end of a wait")
    ] = 3600.0
    idle_timeout: Annotated[float, Field(gt=0, description="seconds of silence in the middle of a stream")] = 3600.0
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], Field(description="how much is said on standard error")
    ] = "info"

    def cli_cmd(self) -> None:
        """Serve until told to stop."""
        app = ResumeShim(
            ReverseProxy(self.upstream, connect=self.connect_timeout),
            self.backend,
            resume_at=self.resume_at,
            guard=self._guard(),
            namespace=self.namespace,
            credentials=self.credentials,
            lenient=self.lenient,
            prefix=self.prefix,
            settle=self.settle,
            limits=Limits(lookup=self.lookup_timeout, resume=self.resume_timeout, idle=self.idle_timeout),
        )
        logging.basicConfig(level=self.log_level.upper(), format="%(levelname)s:     %(message)s")
        with _bind(self.host, self.port) as listening:
            host, port = listening.getsockname()[:2]
            logger.info("listening on http://%s:%d, in front of %s", host, port, self.upstream)
            _say_whether_reachable(self.upstream)
            config = uvicorn.Config(
                app, log_level=self.log_level, lifespan="on", timeout_graceful_shutdown=10, server_header=False,
                date_header=False, proxy_headers=False,
            )  # fmt: skip
            uvicorn.Server(config).run(sockets=[listening])

    def _guard(self) -> Guard:
        options: dict[str, Any] = {"keep": self.keep_answers, "duplicate_window": self.duplicate_window}
        if self.guard != "memory":
            options |= {"lease": self.guard_lease, "required": self.guard_required}
        return load_guard(self.guard, **options)


class Backends(BaseSettings):
    """List the backends, and what `thread_id` means on each."""

    model_config = SettingsConfigDict(cli_prog_name="ap-resume-shim backends")

    def cli_cmd(self) -> None:
        """Print the list."""
        for name in BACKENDS:
            print(f"{name:<16}{load_backend(name).thread_is}")


COMMANDS: dict[str, type[Serve | Backends]] = {"serve": Serve, "backends": Backends}


def main(argv: Sequence[str] | None = None) -> None:
    """Run a command; leaves with status 2 for a wrong call and 1 for what went wrong otherwise."""
    name, *rest = list(sys.argv[1:] if argv is None else argv) or ["--help"]
    if name in ("-h", "--help"):
        print(USAGE, end="")
    elif name == "--version":
        print(__version__)
    elif name not in COMMANDS:
        _fail(f"unknown command {name!r}; there are {', '.join(COMMANDS)}.")
    else:
        _run(lambda: CliApp.run(COMMANDS[name], cli_args=rest))


def _run(command: Callable[[], object]) -> None:
    try:
        command()
    except ValidationError as error:
        for item in error.errors():
            flag = "--" + str(item["loc"][0]).replace("_", "-") if item["loc"] else "the options"
            print(f"ap-resume-shim: {flag}: {item['msg']}", file=sys.stderr)
        sys.exit(2)
    except ConfigurationError as error:
        _fail(str(error))


def _fail(message: str, status: int = 2) -> None:
    print(f"ap-resume-shim: {message}", file=sys.stderr)
    sys.exit(status)


def _bind(host: str, port: int) -> socket.socket:
    """Take the port before anything else is said, so that a taken one is one line and not a stack trace."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, proto=socket.IPPROTO_TCP)  # else asyncio leaves Nagle's algorithm on
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(2048)
    except OSError as error:
        listening.close()
        _fail(f"cannot listen on {host}:{port}: {error.strerror}. Pass another --port, or 0 for any free one.", 1)
    return listening


def _say_whether_reachable(url: str) -> None:
    """An upstream that is not there yet is no reason not to start: say so, and let it come."""
    parsed = urlsplit(url)
    port = parsed.port or (443 if parsed.scheme == "https" else 80)
    try:
        socket.create_connection((parsed.hostname or "", port), timeout=2).close()
    except OSError as error:
        logger.warning("no connection to %s yet (%s): requests are answered with 502 until it is there", url, error)
