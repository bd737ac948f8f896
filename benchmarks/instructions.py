"""What the sidecar makes a processor do: instructions, counted by valgrind, which no busy machine can disturb.

    python -m benchmarks instructions [--update]

Counted are a request that is passed through, an event of a stream, a whole resume with the guard in memory, and an
event of the stream that answers a resume, each through everything that `ap-resume-shim serve` has
(`benchmarks.driver`). They are compared with those of `instructions.json`: as multiples of a piece of work that is not
the shim's, so that another build of the same Python does not matter much. The exit status is 1 when one is worse by
more than a tenth; `--update` writes the file anew. Requests that no convention of a vendor recognises are counted with
vendor resumes observed and guarded, too, and compared with the same requests without: 1 when one needs more by three
hundredths.
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
"""Times that each piece of work is done while it is counted."""
WORSE = 1.10
"""More than this, as a multiple of the baseline, is an error."""
REFERENCE, *MEASURED = WORK

MORE = 1.03
"""More than this, as a multiple of the same request with vendor resumes passed, is an error."""

Counts = Mapping[str, int]
"""Instructions for one unit of each piece of work."""


def count() -> Counts:
    """Run the driver in valgrind, which writes a file whenever the driver calls `mark`."""
    valgrind = ["valgrind", "-q", "--tool=callgrind", "--dump-before=getsid"]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "out")
        driver = [sys.executable, "-m", "benchmarks.driver", str(UNITS)]
        command = [*valgrind, f"--callgrind-out-file={out}", *driver]
        subprocess.run(command, env=os.environ | {"PYTHONHASHSEED": "0"}, check=True)
        # Numbered from 1: what came before a mark; every other one is between two that belong together.
        return {
            work: summary(out.with_suffix(f".{2 * number}").read_text()) // UNITS
            for number, work in enumerate(WORK, start=1)
        }


def summary(dump: str) -> int:
    """All instructions of one of callgrind's files."""
    found = re.search(r"^summary: (\d+)$", dump, re.MULTILINE)
    if found is None:
        raise RuntimeError("This is not what callgrind writes: it has no summary.")
    return int(found[1])


def relative(counts: Counts, baseline: Counts) -> dict[str, float]:
    """Each piece of work as a multiple of what it was, both measured in reference work."""
    scale = baseline[REFERENCE] / counts[REFERENCE]
    return {work: counts[work] * scale / baseline[work] for work in MEASURED}


def complaints(ratios: Mapping[str, float]) -> list[str]:
    """What is worse by more than a tenth."""
    return [
        f"{work}: {(ratio - 1) * 100:.0f} % more instructions than the baseline"
        for work, ratio in ratios.items()
        if ratio > WORSE
    ]


def unlike(counts: Counts) -> list[str]:
    """What needs more by three hundredths than the same request with vendor resumes passed."""
    ratios = {work: counts[work] / counts[plain] for work, plain in ALIKE.items()}
    return [
        f"{work}: {(ratio - 1) * 100:.1f} % more instructions than {ALIKE[work]}"
        for work, ratio in ratios.items()
        if ratio > MORE
    ]


def main(arguments: Sequence[str]) -> None:
    """Count, and compare or write down."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks instructions", description=complaints.__doc__)
    parser.add_argument("--update", action="store_true", help=f"write {BASELINE.name} anew, for this Python")
    given = parser.parse_args(arguments)
    if shutil.which("valgrind") is None:
        sys.exit("Not installed: valgrind, which is a Debian package.")
    version = "{}.{}".format(*sys.version_info)
    known: dict[str, Counts] = json.loads(BASELINE.read_text()) if BASELINE.exists() else {}
    counts = count()
    if given.update:
        BASELINE.write_text(json.dumps(dict(sorted((known | {version: counts}).items())), indent=2) + "\n")
    elif version not in known:
        sys.exit(f"{BASELINE.name} has nothing for Python {version}: run this with --update, and commit the file.")
    ratios = relative(counts, counts if given.update else known[version])
    rows = [[work, f"{counts[work]:,}", f"{ratios[work]:.3f}"] for work in MEASURED]
    show(f"Instructions, Python {version}", ["", "instructions", "of the baseline's"], rows)
    if found := [*complaints(ratios), *unlike(counts)]:
        sys.exit(
            "\n".join(
                [*found, "Make it cheaper; or, if it is worth that, run this with --update and say so in the commit."]
            )
        )
