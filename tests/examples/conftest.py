"""Each test runs on a copy of the examples, and once more on a mutated copy, on which it has to fail.

@pytest.mark.mutation("fastapi/tickets.toml", 'answer = "/answer"', 'answer = "/reply"')
def test_...(examples: Path) -> None: ...
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.test_docs import ROOT


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if mark := metafunc.definition.get_closest_marker("mutation"):
        fails = pytest.mark.xfail(raises=AssertionError, reason="the example is mutated")
        mutations = [pytest.param(None, id="as-it-is"), pytest.param(mark.args, id="mutated", marks=fails)]
        metafunc.parametrize("examples", mutations, indirect=True)


@pytest.fixture
def examples(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The folder with the examples. Raises `ValueError` if the text that the mutation replaces is not there once."""
    folder = tmp_path / "examples"
    shutil.copytree(ROOT / "examples", folder)
    if request.param:
        name, text, replacement = request.param
        original = (folder / name).read_text()
        if original.count(text) != 1:
            raise ValueError(f"{name} has {text!r} {original.count(text)} times")
        (folder / name).write_text(original.replace(text, replacement))
    return folder
