"""The section of a page in docs/backends that is generated from the backends' descriptions and the suite's results."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ap_resume_shim.backends import backend_names, load_backend
from ap_resume_shim.tools.describe import describe
from tests.families.subjects import subjects
from tests.families.test_values import VALUES
from tests.support.driver import Driver

FOLDER = Path(__file__).parents[2] / "docs" / "backends"
HEADING = "## Modes and values\n"
"""The section goes from here to the end of the page."""

MODES = """
If the server lacks a mode, the shim derives it from another one, which `ap-resume-shim backends` names.

| backend | background | wait | stream | fields refused with 422 |
|---|---|---|---|---|
"""

VALUES_HEAD = """
The tests answered each question with twenty JSON values of all types, in all three modes. The shim refuses a value that
would not reach the agent unchanged, before it sends a resume. A subject is a server together with a way to resume it.

| subject | backend | question | carried | refused with 422 |
|---|---|---|---|---|
"""

Seen = dict[tuple[str, str], dict[str, bool]]
"""By subject and question, which values were carried."""


def seen(folder: Path) -> Seen:
    """Read the lines that the suite has written to a folder (`results`)."""
    found: Seen = {}
    for file in sorted(folder.glob("*.jsonl")):
        for line in file.read_text().splitlines():
            told = json.loads(line)
            carried = found.setdefault((told["subject"], told["asks"]), {})
            key = written(told["value"])
            if carried.setdefault(key, told["carried"]) != told["carried"]:
                raise ValueError(f"{told['subject']} carries {key} in one mode and not in another")
    return found


def page_of(backend: str) -> Path:
    """Return a backend's page: the one with its name, or with the longest beginning of its name."""
    pages = {page.stem: page for page in FOLDER.glob("*.md")}
    words = backend.split("-")
    return next(pages[stem] for end in range(len(words), 0, -1) if (stem := "-".join(words[:end])) in pages)


def subjects_on(pages: Iterable[Path]) -> dict[str, type[Driver]]:
    """Return the subjects of the backends on these pages whose values the suite tries."""
    wanted = set(pages)
    return {name: kind for name, kind in subjects().items() if "ask" in kind.shows and page_of(kind.backend) in wanted}


def with_section(page: Path, found: Seen) -> str:
    """Return the text of a page, with its section as it should be."""
    return page.read_text().partition(HEADING)[0] + HEADING + modes_of(page) + _values_of(page, found)


def modes_of(page: Path) -> str:
    """Return the table of modes of a page."""
    lines = [MODES]
    for name in (name for name in backend_names() if page_of(name) == page):
        about = describe(load_backend(name))
        modes = " | ".join(mode.partition(":")[0] for mode in about.modes.values())
        refused = ", ".join(f"`{field}`" for field in about.unsupported) or "none"
        lines.append(f"| `{name}` | {modes} | {refused} |\n")
    return "".join(lines)


def _values_of(page: Path, found: Seen) -> str:
    known = subjects_on([page])
    rows = [_row(*key, found[key]) for key in sorted(found) if key[0] in known]
    return "".join([VALUES_HEAD, *rows]) if rows else ""


def _row(subject: str, asks: str, carried: dict[str, bool]) -> str:
    yes = [key for key in map(written, VALUES) if carried.get(key) is True]
    no = [key for key in map(written, VALUES) if carried.get(key) is False]
    backend = subjects()[subject].backend
    return f"| `{subject}` | `{backend}` | `{asks}` | {_listed(yes, no)} | {_listed(no, yes)} |\n"


def _listed(these: list[str], others: list[str]) -> str:
    if not others:
        return "every value"
    if not these:
        return "none"
    return "all others" if len(these) > len(others) else ", ".join(f"`{_cell(value)}`" for value in these)


def written(value: Any) -> str:
    """A value, as JSON writes it."""
    return json.dumps(value, ensure_ascii=False)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
