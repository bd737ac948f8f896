"""The processor's instructions for the sidecar's work, counted by valgrind: other load on the machine has no effect.

    python -m benchmarks instructions [--update | --telemetry]

The benchmark counts a passed request, an event of a stream, a whole resume with the guard in memory, and an event of a
resume's stream, each through all parts of `ap-resume-shim serve` (`benchmarks.driver`). It compares the counts with
those in `instructions.json`, as multiples of work that is not the shim's, so that builds of the same Python are
comparable. The exit status is 1 if a count is more than 10 % above; `--update` replaces the file's counts. Requests
that no convention of a vendor recognises are also counted with vendor resumes observed and guarded, and compared with
the same requests without: the exit status is 1 if one needs 3 % more. `--telemetry` shows what metrics and traces add.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.driver import ALIKE, WORK
from benchmarks.table import show

BASELINE = Path(__file__).with_name("instructions.json")
UNITS = 100
"""How many times each piece of work is counted."""
WORSE = 1.10
"""Maximum of a count, as a multiple of the baseline."""
REFERENCE, *MEASURED = WORK

MORE = 1.03
"""Maximum of a count, as a multiple of the same request with vendor resumes passed."""

Counts = Mapping[str, int]
"""Instructions for one unit of each piece of work."""


def count(*telemetry: str) -> Counts:
    """Run the driver in valgrind, which writes a file whenever the driver calls `mark`."""
    valgrind = ["valgrind", "-q", "--tool=callgrind", "--dump-before=getsid"]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "out")
        driver = [sys.executable, "-m", "benchmarks.driver", str(UNITS), *telemetry]
        command = [*valgrind, f"--callgrind-out-file={out}", *driver]
        subprocess.run(command, env=os.environ | {"PYTHONHASHSEED": "0"}, check=True)
        # The files are numbered from 1. Each has the work before a mark, so the even ones have that between two marks.
        return {
            work: summary(out.with_suffix(f".{2 * number}").read_text()) // UNITS
            for number, work in enumerate(WORK, start=1)
        }


def summary(dump: str) -> int:
    """Return the instructions in one of callgrind's files. Raises `RuntimeError` if it has no summary."""
    found = re.search(r"^summary: (\d+)$", dump, re.MULTILINE)
    if found is None:
        raise RuntimeError("The file is not callgrind's: it has no summary.")
    return int(found[1])


def relative(counts: Counts, baseline: Counts) -> dict[str, float]:
    """Return each count as a multiple of its baseline, both in units of the reference work."""
    scale = baseline[REFERENCE] / counts[REFERENCE]
    return {work: counts[work] * scale / baseline[work] for work in MEASURED}


def complaints(ratios: Mapping[str, float]) -> list[str]:
    """Return a line for each count that is more than 10 % above its baseline."""
    return [
        f"{work}: {(ratio - 1) * 100:.0f} % more instructions than the baseline"
        for work, ratio in ratios.items()
        if ratio > WORSE
    ]


def unlike(counts: Counts) -> list[str]:
    """Return a line for each request that needs 3 % more than the same one with vendor resumes passed."""
    ratios = {work: counts[work] / counts[plain] for work, plain in ALIKE.items()}
    return [
        f"{work}: {(ratio - 1) * 100:.1f} % more instructions than {ALIKE[work]}"
        for work, ratio in ratios.items()
        if ratio > MORE
    ]


def main(arguments: Sequence[str]) -> None:
    """Count, and compare the counts or store them."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks instructions", description="Compare the sidecar's instructions with the baseline."
    )
    parser.add_argument("--update", action="store_true", help=f"replace the counts for this Python in {BASELINE.name}")
    parser.add_argument("--telemetry", action="store_true", help="count with metrics, with traces, and without")
    given = parser.parse_args(arguments)
    if shutil.which("valgrind") is None:
        sys.exit("Not installed: valgrind, which is a Debian package.")
    version = "{}.{}".format(*sys.version_info)
    if given.telemetry:
        without, *others = count(), count("metrics"), count("traces")
        rows = [[work, *(f"{other[work] / without[work] - 1:+.1%}" for other in others)] for work in MEASURED]
        show(f"Instructions that telemetry adds, Python {version}", ["", "metrics", "traces"], rows)
        return
    known: dict[str, Counts] = json.loads(BASELINE.read_text()) if BASELINE.exists() else {}
    counts = count()
    if given.update:
        BASELINE.write_text(json.dumps(dict(sorted((known | {version: counts}).items())), indent=2) + "\n")
    elif version not in known:
        sys.exit(f"{BASELINE.name} has no counts for Python {version}: run this with --update, and commit the file.")
    ratios = relative(counts, counts if given.update else known[version])
    rows = [[work, f"{counts[work]:,}", f"{ratios[work]:.3f}"] for work in MEASURED]
    show(f"Instructions, Python {version}", ["", "instructions", "of the baseline's"], rows)
    if found := [*complaints(ratios), *unlike(counts)]:
        sys.exit(
            "\n".join(
                [*found, "Make it cheaper; or, if it is worth the cost, run this with --update and commit the file."]
            )
        )
