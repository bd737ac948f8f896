"""What the suites against real servers have in common: a test is multiplied by subjects and modes."""

from __future__ import annotations

import os
from typing import Any

import pytest

from ap_resume_shim.core.protocol import Mode


def chosen(variable: str, default: tuple[str, ...]) -> list[str]:
    """The names in an environment variable, separated by commas."""
    given = os.environ.get(variable)
    return list(default) if not given else given.split(",")


def marked(metafunc: pytest.Metafunc, name: str) -> tuple[Any, ...]:
    """The arguments of a test's marker, such as `@pytest.mark.on("aegra")`; empty without the marker."""
    marker = metafunc.definition.get_closest_marker(name)
    return () if marker is None else marker.args


def multiply_by_modes(metafunc: pytest.Metafunc) -> None:
    """Run a test in each mode, or in those of `@pytest.mark.modes(Mode.WAIT)`."""
    if "mode" in metafunc.fixturenames:
        modes = marked(metafunc, "modes") or tuple(Mode)
        metafunc.parametrize("mode", modes, ids=[mode.name.lower() for mode in modes])


def leave_out_empty(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect, rather than skip, tests for which none of the chosen subjects is suitable."""
    empty = [item for item in items if "NOTSET" in item.nodeid]
    if empty:
        config.hook.pytest_deselected(items=empty)
        items[:] = [item for item in items if item not in empty]
