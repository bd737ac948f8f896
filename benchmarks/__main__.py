"""`python -m benchmarks [passthrough] [requests] [resume] [guard] [imports] [profile]`: all of them by default.

Benchmarks with options run one at a time, and have `--help`: `python -m benchmarks sidecar`, `idle`, `instructions`,
`scale`. `python -m benchmarks renew` writes their output into README.md.
"""

from __future__ import annotations

import sys

from benchmarks import (
    guard,
    idle,
    imports,
    instructions,
    passthrough,
    profile_by_part,
    renew,
    requests_per_resume,
    resume,
    scale,
    sidecar,
)

BENCHMARKS = {
    "passthrough": passthrough.main,
    "requests": requests_per_resume.main,
    "resume": resume.main,
    "guard": guard.main,
    "imports": imports.main,
    "profile": profile_by_part.main,
}
WITH_OPTIONS = {
    "sidecar": sidecar.main,
    "idle": idle.main,
    "instructions": instructions.main,
    "scale": scale.main,
    "renew": renew.main,
}


def main(arguments: list[str]) -> None:
    """Run the named benchmarks."""
    if arguments and arguments[0] in WITH_OPTIONS:
        WITH_OPTIONS[arguments[0]](arguments[1:])
        return
    if unknown := set(arguments) - set(BENCHMARKS):
        there_are = ", ".join([*BENCHMARKS, *WITH_OPTIONS])
        sys.exit(f"There is no benchmark {', '.join(sorted(unknown))}; there are {there_are}.")
    for name in arguments or BENCHMARKS:
        BENCHMARKS[name]()


if __name__ == "__main__":
    main(sys.argv[1:])
