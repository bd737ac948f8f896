"""Finds public names that the built site does not describe."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import ap_resume_shim
from tests.site.links import Page

API = Path(__file__).parents[2] / "docs/reference/api.md"


def public_names() -> Iterator[str]:
    """Yield the names in `__all__` of the modules that the page lists, each once."""
    for module in re.findall(r"^## `(\S+)`$", API.read_text(), re.MULTILINE):
        above = [] if module == "ap_resume_shim" else ap_resume_shim.__all__
        yield from (f"{module}.{name}" for name in import_module(module).__all__ if name not in above)


def undescribed(site: Path) -> Iterator[str]:
    """Yield a line for each public name without an anchor in the page."""
    page = Page((site / "docs/reference/api.html").read_text())
    yield from (f"docs/reference/api.html: {name} is missing" for name in public_names() if name not in page.anchors)
