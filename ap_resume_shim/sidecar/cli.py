"""The command line: `ap-resume-shim demo`, `serve`, `backends`, `explain`, `report`, `audit`, `schema`.

`demo` and `serve` need the extra `serve` (httptools, pydantic-settings, and more), and import it when they run.
"""

from __future__ import annotations

import asyncio
import difflib
import json
import os
import sys
import uuid
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import asdict
from datetime import UTC, datetime
from io import TextIOWrapper
from pathlib import Path
from typing import Any

from ap_resume_shim import __version__
from ap_resume_shim.backends import backend_names, installed, load_backend, read_profile
from ap_resume_shim.core.asgi import as_prefix
from ap_resume_shim.core.dialect import Dialect
from ap_resume_shim.core.errors import ConfigurationError, ResumeError
from ap_resume_shim.core.openapi import openapi
from ap_resume_shim.core.protocol import Resume, parse
from ap_resume_shim.profiles.loading import profile_schema
from ap_resume_shim.proxy.app import ReverseProxy
from ap_resume_shim.sidecar.setting_values import pairs
from ap_resume_shim.sidecar.settings import schema
from ap_resume_shim.sidecar.sockets import CannotListen
from ap_resume_shim.tools.assumed_answers import Live
from ap_resume_shim.tools.describe import MODES, describe
from ap_resume_shim.tools.explain import RecordedAnswers, explain, read_answers, recorded_answers
from ap_resume_shim.tools.report import fetch_report, lines, merge

USAGE = """usage: ap-resume-shim COMMAND [OPTIONS]
       ap-resume-shim --help | --version

commands:
  demo       show an agent's question, its answer, and the double click that is refused (needs the extra `serve`)
  serve      run the sidecar: the resume routes in front of a server (needs the extra `serve`)
  backends   list the backends: their threads, native and derived modes, and limits
  explain    print the requests that a resume would send, without sending it
  report     print how clients answer: who uses a vendor's convention, and which answers are refused
  audit      verify audit files
  schema     print the JSON schema of a settings file or of a profile, or the OpenAPI file of the routes

`ap-resume-shim COMMAND --help` lists the options of a command.
"""


@contextmanager
def _extra(command: str) -> Iterator[None]:
    """Import the libraries of the extra `serve`. Raises `ConfigurationError` if one is missing."""
    try:
        yield
    except ModuleNotFoundError as missing:
        raise ConfigurationError(
            f"`ap-resume-shim {command}` needs the extra `serve` ({missing}): pip install 'ap_resume_shim[serve]'"
        ) from None


def play_demo(argv: Sequence[str]) -> None:
    """`demo`: show an agent's question, its answer, and the double click that is refused."""
    parser = _parser("demo")
    parser.add_argument("--console", action="store_true", help="let questions wait in a browser, until Ctrl-C")
    parser.add_argument("--port", help="port of the console, default 8063; 0 for a free one")
    given = parser.parse_args(argv)
    if given.port and not given.console:
        parser.error("--port is the port of the console: add --console")
    with _extra("demo"):
        from ap_resume_shim.demo.double_click import play
        from ap_resume_shim.demo.waiting_questions import waiting_questions
    if not given.console:
        play()
        return
    print("Questions wait at the address of the console below. Open it in two tabs, and answer a question in both:")
    print("the agent receives one answer. Ctrl-C ends the demo.", flush=True)
    with waiting_questions() as server:
        sidecar = ("--upstream", server, "--backend", "agent-protocol", "--console", "--log-format", "human")
        run_sidecar((*sidecar, "--port", given.port or "8063"))


def run_sidecar(argv: Sequence[str]) -> None:
    """`serve`: run the sidecar, or, with `--check`, only check its settings."""
    with _extra("serve"):
        from ap_resume_shim.sidecar.app import check, check_guard
        from ap_resume_shim.sidecar.server import serve
        from ap_resume_shim.sidecar.settings_sources import read
    settings = read(argv)
    if problems := check(settings):
        raise ConfigurationError("\n".join(problems))
    if settings.check:
        for warning in asyncio.run(check_guard(settings)):
            print(f"ap-resume-shim: warning: {settings.masked(warning)}", file=sys.stderr)
        print("The settings are valid. Those that differ from the defaults:")
        for name, value in settings.shown().items():
            print(f"  {name} = {value}")
    else:
        serve(settings)


def list_backends(argv: Sequence[str]) -> None:
    """`backends`: list what `thread_id` means on each, which modes are native or derived, and its limits."""
    parser = _parser("backends")
    parser.add_argument("name", nargs="*", help="backends to list; default: all")
    parser.add_argument("--profile", type=Path, metavar="FILE", help="profile of a backend of your own")
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_args(argv)
    names = given.name or ([] if given.profile else [*backend_names(), *installed()])
    dialects = [load_backend(name) for name in names] + ([read_profile(given.profile)] if given.profile else [])
    described = [describe(dialect) for dialect in dialects]
    if given.json:
        print(json.dumps([asdict(each) for each in described], indent=2))
    else:
        print("\n\n".join("\n".join(each.lines()) for each in described))


def explain_resume(argv: Sequence[str]) -> None:
    """`explain`: read the body of a resume from standard input, and print the requests that it would send."""
    parser = _parser("explain")
    parser.add_argument("--backend", help="kind of server")
    parser.add_argument("--profile", type=Path, metavar="FILE", help="profile of a backend of your own")
    parser.add_argument("--option", action="append", default=[], metavar="NAME=VALUE", help="option of the backend")
    parser.add_argument("--resume-at", metavar="POINTER", help="JSON pointer to the answer in the request body")
    parser.add_argument("--mode", choices=MODES.values(), default="background", help="which of the three routes")
    parser.add_argument(
        "--answers", type=Path, metavar="FILE", help="responses of your server, in place of recorded ones"
    )
    parser.add_argument("--upstream", metavar="URL", help="look the thread up on this server; nothing else is sent")
    parser.add_argument("--prefix", default="", help="path before the server's routes, such as /api")
    parser.add_argument(
        "--header",
        action="append",
        default=[],
        metavar="NAME:VALUE",
        help="header field of the lookups, for --upstream",
    )
    given = parser.parse_args(argv)
    dialect = _dialect(given)
    mode = next(mode for mode, word in MODES.items() if word == given.mode)
    if sys.stdin.isatty():
        print('ap-resume-shim: type a body, such as {"thread_id": "t", "input": "yes"}, then Ctrl-D', file=sys.stderr)
    resume = parse(
        sys.stdin.buffer.read(),
        mode,
        now=datetime.now(UTC).isoformat(),
        nonce=str(uuid.uuid4()),
        vocabulary=dialect.vocabulary,
    )
    answers, source = _answers(given, resume, dialect)
    print(
        f"ap-resume-shim: the resume is not sent; these are the requests that it would send. {source}", file=sys.stderr
    )
    count = trips = 0
    with closing(answers) if isinstance(answers, Live) else nullcontext():
        for sent in explain(resume, dialect, answers):
            print("\n".join(sent.lines()))
            count, trips = count + 1, max(trips, sent.round_trip)
    print(f"ap-resume-shim: {count} requests in {trips} round trips", file=sys.stderr)


def _answers(given: Namespace, resume: Resume, dialect: Dialect[Any]) -> tuple[RecordedAnswers | Live | None, str]:
    """Return the responses for the dry run, and a description of their source."""
    if given.upstream is not None and given.answers is not None:
        raise ConfigurationError("--upstream and --answers are both sources of responses: pass only one.")
    after = "All other responses are assumed."
    if given.upstream is not None:
        proxy = ReverseProxy(given.upstream)
        live = Live(resume, dialect, proxy, map(_header, given.header), as_prefix(given.prefix))
        return live, f"The lookups (# look) are sent to {proxy.url}. {after}"
    if given.answers is not None:
        return read_answers(_text(given.answers), str(given.answers)), f"The responses are those of {given.answers}."
    recorded = None if given.profile else recorded_answers(dialect.name)
    if recorded is None:
        return None, "The responses are assumed: a thread with one question. --upstream URL looks up a real one."
    return recorded, (
        "The responses were recorded from a server of this kind: --upstream URL looks the thread up on yours."
    )


def _header(line: str) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    if not colon or not name.strip():
        raise ConfigurationError(f"--header {line!r} is not a header field: write it as NAME:VALUE.")
    return name.strip(), value.strip()


def _dialect(given: Namespace) -> Dialect[Any]:
    if (given.backend is None) == (given.profile is None):
        raise ConfigurationError("Pass the kind of server: either --backend NAME or --profile FILE.")
    if given.profile is not None:
        return read_profile(given.profile, resume_at=given.resume_at)
    return load_backend(given.backend, resume_at=given.resume_at, options=pairs(given.option))


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}") from None


SCHEMAS: dict[str, Callable[[], dict[str, Any]]] = {"settings": schema, "profile": profile_schema, "openapi": openapi}


def print_schema(argv: Sequence[str]) -> None:
    """`schema`: print the JSON schema of a settings file or of a profile, or the OpenAPI file of the routes."""
    parser = _parser("schema")
    parser.add_argument("schema", nargs="?", choices=tuple(SCHEMAS), default="settings", help="default: settings")
    print(json.dumps(SCHEMAS[parser.parse_args(argv).schema](), indent=2))


def print_report(argv: Sequence[str]) -> None:
    """`report`: print who answers in which convention, as running sidecars have counted it."""
    parser = _parser("report")
    parser.add_argument(
        "url", nargs="+", help="URL of a sidecar's health port, such as http://127.0.0.1:8064; several are added up"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_args(argv)
    report = merge([fetch_report(url) for url in given.url])
    print(json.dumps(report, indent=2) if given.json else "\n".join(lines(report)))


def verify_audit(argv: Sequence[str]) -> None:
    """`audit`: verify audit files. Exits with status 1 if a line was changed, removed or added."""
    from ap_resume_shim.policy.audit_verify import verify

    parser = _parser("audit")
    parser.add_argument("action", choices=("verify",))
    parser.add_argument("file", nargs="+", type=Path, help="several are those of one process, the oldest first")
    results = verify(parser.parse_args(argv).file)
    for result in results:
        print("\n".join(result.lines()))
    if any(result.problems for result in results):
        sys.exit(1)


COMMANDS: dict[str, Callable[[Sequence[str]], None]] = {
    "demo": play_demo,
    "serve": run_sidecar,
    "backends": list_backends,
    "explain": explain_resume,
    "report": print_report,
    "audit": verify_audit,
    "schema": print_schema,
}


def main(argv: Sequence[str] | None = None) -> None:
    """Run a command. Exits with status 2 for a usage error, 130 for Ctrl-C, 1 for any other failure, such as a closed
    pipe.
    """
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # its encoding may lack a character
    try:
        try:
            _run(*(sys.argv[1:] if argv is None else argv) or ("--help",))
        finally:
            print(end="", flush=True)  # `sys.stdout` is None where the descriptor is closed
    except BrokenPipeError:  # the reader, such as `head`, has closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the interpreter flushes once more at its exit
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


def _run(name: str, *rest: str) -> None:
    """Run the command `name`."""
    if name in ("-h", "--help"):
        print(USAGE, end="")
    elif name == "--version":
        print(__version__)
    elif name not in COMMANDS:
        near = difflib.get_close_matches(name, (*COMMANDS, "--help", "--version"), 1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(COMMANDS)}."
        _fail([f"unknown command {name!r}; {hint}"])
    else:
        try:
            COMMANDS[name](rest)
        except ConfigurationError as error:
            _fail(str(error).splitlines())
        except ResumeError as error:
            _fail([f"this would be refused with {error.http_status} {error.code}: {error.message}"], 1)
        except CannotListen as error:
            _fail([str(error)], 1)


def _parser(command: str) -> ArgumentParser:
    described = (COMMANDS[command].__doc__ or "").partition(": ")[2]
    described = described[:1].upper() + described[1:]
    return ArgumentParser(prog=f"ap-resume-shim {command}", description=described, allow_abbrev=False)


def _fail(lines: Iterable[str], status: int = 2) -> None:
    for line in lines:
        print(f"ap-resume-shim: {line}", file=sys.stderr)
    sys.exit(status)
