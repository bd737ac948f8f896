"""Contexts of the backends. Their default is None, which a type checker takes for any context."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from ap_resume_shim import backends

FOLDER = Path(backends.__file__).parent
MODULES = sorted(path.relative_to(FOLDER).as_posix() for path in FOLDER.glob("*/*.py"))


@pytest.mark.parametrize("module", MODULES)
def test_a_backend_gives_a_context_with_all_that_it_finds_and_starts(module: str) -> None:
    calls = (node for node in ast.walk(ast.parse((FOLDER / module).read_text("utf-8"))) if isinstance(node, ast.Call))
    made = [call for call in calls if isinstance(call.func, ast.Name) and call.func.id in ("Found", "Started")]
    assert not [ast.unparse(call) for call in made if "context" not in {keyword.arg for keyword in call.keywords}]
