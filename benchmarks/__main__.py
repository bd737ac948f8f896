"""`python -m benchmarks [passthrough] [requests] [resume] [guard]`: all of them where none is named."""

from __future__ import annotations

import sys

from benchmarks import guard, passthrough, requests_per_resume, resume

BENCHMARKS = {
    "passthrough": passthrough.main,
    "requests": requests_per_resume.main,
    "resume": resume.main,
    "guard": guard.main,
}


def main(names: list[str]) -> None:
    """Run what is named."""
    if unknown := set(names) - set(BENCHMARKS):
        sys.exit(f"There is no benchmark {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}.")
    for name in names or BENCHMARKS:
        BENCHMARKS[name]()


if __name__ == "__main__":
    main(sys.argv[1:])
