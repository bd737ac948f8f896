"""The subjects: every driver of `tests/families/drivers`, by its name."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path

from tests.families.driver import Driver

FOLDER = Path(__file__).parent / "drivers"


def _all_of(kind: type[Driver]) -> list[type[Driver]]:
    return [kind, *(each for below in kind.__subclasses__() for each in _all_of(below))]


def subjects() -> dict[str, type[Driver]]:
    """All of them."""
    for path in sorted(FOLDER.glob("[!_]*.py")):
        import_module(f"tests.families.drivers.{path.stem}")
    return {kind.name: kind for kind in _all_of(Driver) if "name" in vars(kind)}


def chosen() -> list[type[Driver]]:
    """Those that AP_TEST_SUBJECTS names (comma-separated); none when it does not, since servers are slow to install."""
    known = subjects()
    names = os.environ.get("AP_TEST_SUBJECTS", "")
    return list(known.values()) if names == "all" else [known[name] for name in names.split(",") if name]
