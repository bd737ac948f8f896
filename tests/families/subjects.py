"""The subjects: every driver of `tests/families/drivers`, by its name."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path

from tests.support.driver import Driver

FOLDER = Path(__file__).parent / "drivers"


def subjects() -> dict[str, type[Driver]]:
    """All of them."""
    modules = [import_module(f"tests.families.drivers.{path.stem}") for path in sorted(FOLDER.glob("[!_]*.py"))]
    return {
        kind.name: kind
        for module in modules
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, Driver) and "name" in vars(kind)
    }


def chosen() -> list[type[Driver]]:
    """Those that AP_TEST_SUBJECTS names (comma-separated); none when it does not, since servers are slow to install."""
    known = subjects()
    names = os.environ.get("AP_TEST_SUBJECTS", "")
    return list(known.values()) if names == "all" else [known[name] for name in names.split(",") if name]
