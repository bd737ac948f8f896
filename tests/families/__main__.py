"""Make docs/reference/backends.md from what the suite has kept, or compare it.

AP_TEST_RESULTS=folder AP_TEST_SUBJECTS=all pytest tests/families
python -m tests.families folder [--write]
"""

from __future__ import annotations

import argparse
import difflib
import sys
from pathlib import Path

from tests.families.page import PAGE, page, seen
from tests.families.subjects import subjects


def main() -> int:
    """0 when the page says what was seen."""
    parser = argparse.ArgumentParser(prog="python -m tests.families", description=__doc__)
    parser.add_argument("results", type=Path, help="the folder that AP_TEST_RESULTS named")
    parser.add_argument("--write", action="store_true", help="renew the page")
    given = parser.parse_args()
    found = seen(given.results)
    asking = {name for name, kind in subjects().items() if "ask" in kind.shows}
    if missing := sorted(asking - {subject for subject, _ in found}):
        print(f"nothing was seen of {', '.join(missing)}", file=sys.stderr)
        return 1
    made = page(found)
    if given.write:
        PAGE.write_text(made)
    elif (old := PAGE.read_text()) != made:
        print(f"{PAGE.name} does not say what was seen: `python -m tests.families RESULTS --write` renews it.")
        sys.stdout.writelines(difflib.unified_diff(old.splitlines(True), made.splitlines(True), n=0))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
