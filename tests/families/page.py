"""The page of the docs that is made from what the suite has seen: docs/reference/backends.md."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ap_resume_shim.backends import backend_names, load_backend
from ap_resume_shim.tools.describe import describe
from tests.families.subjects import subjects
from tests.families.test_values import VALUES

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "backends.md"

HEAD = """# Backends: what each can carry

`python -m tests.families` generates this page from the descriptions of the backends and from what the suite in
`tests/families` recorded with real servers; `.ci/run` compares it with each run. `docs/backends` has a page for each
backend.

## Modes

If a server lacks a mode, the shim derives it from another one, which `ap-resume-shim backends` names.

| backend | how it is resumed | `thread_id` | background | wait | stream | refused with 422 |
|---|---|---|---|---|---|---|
"""

VALUES_HEAD = """
## Values

Every JSON value is a valid answer. If a server would not deliver a value to the agent unchanged, the shim refuses it
with 422 `unsupported_input` before it sends a resume. The suite tried each value in all three modes.

| subject | backend | question | carried | refused with 422 |
|---|---|---|---|---|
"""

SUBJECTS = """
A subject is a server together with a way to resume it. `agntcy`, `duragraph` and the `hobby-…` subjects are servers
that replay responses which were recorded, or read from the source, since the real ones cannot be installed; all others
are the real servers.
LangGraph's servers, Aegra and the Agent Protocol have their own suite (`tests/e2e`); their pages list what they carry.
"""


def seen(folder: Path) -> dict[tuple[str, str], dict[str, bool]]:
    """By subject and question, which values were carried; from the lines that the suite has kept."""
    found: dict[tuple[str, str], dict[str, bool]] = {}
    for file in sorted(folder.glob("*.jsonl")):
        for line in file.read_text().splitlines():
            told = json.loads(line)
            carried = found.setdefault((told["subject"], told["asks"]), {})
            key = written(told["value"])
            if carried.setdefault(key, told["carried"]) != told["carried"]:
                raise ValueError(f"{told['subject']} carries {key} in one mode and not in another")
    return found


def page(found: dict[tuple[str, str], dict[str, bool]]) -> str:
    """The whole page."""
    lines = [HEAD]
    for name in backend_names():
        about = describe(load_backend(name))
        modes = " | ".join(mode.partition(":")[0] for mode in about.modes.values())
        refused = ", ".join(f"`{field}`" for field in about.unsupported) or "none"
        lines.append(f"| `{name}` | {about.family} | {_cell(about.thread_is)} | {modes} | {refused} |\n")
    lines += [VALUES_HEAD, *(_row(*key, found[key]) for key in sorted(found)), SUBJECTS]
    return "".join(lines)


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
