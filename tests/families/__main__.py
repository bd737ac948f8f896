"""Write the generated section of the pages in docs/backends from the results of the suite, or compare it.

AP_TEST_RESULTS=folder AP_TEST_SUBJECTS=all pytest tests/families
python -m tests.families folder [--write]

AP_TEST_SUBJECTS restricts both to the pages of some subjects.
"""

from __future__ import annotations

import argparse
import difflib
import sys
from pathlib import Path

from tests.families.page import FOLDER, page_of, seen, subjects_on, with_section
from tests.families.subjects import chosen


def main() -> int:
    """Return 0 if the pages match the results."""
    parser = argparse.ArgumentParser(prog="python -m tests.families", description=__doc__)
    parser.add_argument("results", type=Path, help="the folder that AP_TEST_RESULTS named")
    parser.add_argument("--write", action="store_true", help="renew the pages")
    given = parser.parse_args()
    found = seen(given.results)
    pages = sorted({page_of(kind.backend) for kind in chosen()} or FOLDER.glob("*.md"))
    if missing := sorted(subjects_on(pages).keys() - {subject for subject, _ in found}):
        print(f"there are no results of {', '.join(missing)}", file=sys.stderr)
        return 1
    stale = {page: made for page in pages if (made := with_section(page, found)) != page.read_text()}
    for page, made in stale.items():
        if given.write:
            page.write_text(made)
        else:
            print(f"{page.name} does not match the results: `python -m tests.families RESULTS --write` renews it.")
            sys.stdout.writelines(difflib.unified_diff(page.read_text().splitlines(True), made.splitlines(True), n=0))
    return 0 if given.write or not stale else 1


if __name__ == "__main__":
    sys.exit(main())
