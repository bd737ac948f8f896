"""The command line: `ap-resume-shim serve`, `ap-resume-shim backends`, `ap-resume-shim schema`.

Needs the extra `serve` (uvicorn, httptools, pydantic-settings).
"""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Iterable, Sequence

from ap_resume_shim import __version__
from ap_resume_shim.backends import BACKENDS, load_backend

try:
    from ap_resume_shim.assembly import check
    from ap_resume_shim.serving import serve
    from ap_resume_shim.settings import schema
    from ap_resume_shim.sockets import CannotListen
    from ap_resume_shim.sources import WrongSettings, read
except ModuleNotFoundError as missing:  # pragma: no cover - seen only without the extra
    raise SystemExit(f"{missing}. The command line needs more: pip install 'ap_resume_shim[serve]'") from None

USAGE = """usage: ap-resume-shim COMMAND [OPTIONS]

commands:
  serve      run the sidecar: the resume routes in front of a server
  backends   list the backends
  schema     print the JSON schema of a file of settings

`ap-resume-shim COMMAND --help` tells the options of a command.
"""


def run_sidecar(argv: Sequence[str]) -> None:
    """`serve`: run the sidecar, or, with `--check`, tell whether it could run."""
    settings = read(argv)
    if problems := check(settings):
        raise WrongSettings(problems)
    if settings.check:
        print("The settings are right. Those that are not the defaults:")
        for name, value in settings.shown().items():
            print(f"  {name} = {value}")
    else:
        serve(settings)


def list_backends(argv: Sequence[str]) -> None:
    """`backends`: the backends, and what `thread_id` means on each."""
    _no_options("backends", argv)
    for name in BACKENDS:
        print(f"{name:<16}{load_backend(name).thread_is}")


def print_schema(argv: Sequence[str]) -> None:
    """`schema`: the JSON schema of a file of settings."""
    _no_options("schema", argv)
    print(json.dumps(schema(), indent=2))


COMMANDS: dict[str, Callable[[Sequence[str]], None]] = {
    "serve": run_sidecar,
    "backends": list_backends,
    "schema": print_schema,
}


def main(argv: Sequence[str] | None = None) -> None:
    """Run a command; leaves with status 2 for a wrong call and 1 for what went wrong otherwise."""
    name, *rest = list(sys.argv[1:] if argv is None else argv) or ["--help"]
    if name in ("-h", "--help"):
        print(USAGE, end="")
    elif name == "--version":
        print(__version__)
    elif name not in COMMANDS:
        _fail([f"unknown command {name!r}; there are {', '.join(COMMANDS)}."])
    else:
        try:
            COMMANDS[name](rest)
        except WrongSettings as error:
            _fail(error.lines)
        except CannotListen as error:
            _fail([str(error)], 1)


def _no_options(command: str, argv: Sequence[str]) -> None:
    described = COMMANDS[command].__doc__
    ArgumentParser(prog=f"ap-resume-shim {command}", description=described, allow_abbrev=False).parse_args(argv)


def _fail(lines: Iterable[str], status: int = 2) -> None:
    for line in lines:
        print(f"ap-resume-shim: {line}", file=sys.stderr)
    sys.exit(status)
