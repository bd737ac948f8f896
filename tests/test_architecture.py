"""Who may import whom: one row a folder. Everything that a row does not name is forbidden."""

from __future__ import annotations

import ast
import re
import sys
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import ap_resume_shim

ROOT = Path(ap_resume_shim.__file__).parent
MODULES = {path.relative_to(ROOT).with_suffix("").as_posix().replace("/", "."): path for path in ROOT.rglob("*.py")}

MAY_IMPORT: dict[str, tuple[set[str], set[str]]] = {
    # folder: (our folders, libraries)
    "core": (set(), {"pydantic"}),
    "profiles": ({"core"}, {"pydantic"}),
    "backends": ({"core", "profiles"}, set()),
    "dialects": ({"core", "profiles", "backends"}, set()),
    "_shutdown": (set(), set()),
    "guard": ({"core", "_shutdown"}, {"redis", "cryptography"}),
    "runtime": ({"core", "guard"}, {"starlette", "pythonjsonlogger"}),
    "middleware": ({"_shutdown", "core", "backends", "guard", "runtime"}, {"starlette"}),
    "proxy": ({"core", "_shutdown"}, {"starlette", "httpx", "httpcore", "anyio", "websockets"}),
    "http1": ({"core", "proxy"}, {"starlette", "httptools"}),
    "tools": ({"core", "profiles", "backends", "guard", "runtime"}, {"starlette"}),
    "__init__": ({"core", "guard", "runtime", "middleware", "proxy", "http1"}, set()),
    "sidecar": (
        {
            "__init__",
            "_shutdown",
            "core",
            "profiles",
            "backends",
            "guard",
            "runtime",
            "middleware",
            "proxy",
            "http1",
            "tools",
        },
        {"starlette", "uvloop", "pydantic", "pydantic_core", "pydantic_settings"},
    ),
    "__main__": ({"sidecar"}, set()),
}
PURE = ("core", "profiles", "backends")
IMPURE = {"asyncio", "time", "random", "os", "logging", "secrets", "threading", "socket", "subprocess"}
REGISTRY = "backends.__init__"
"""It reads files and entry points, so that no dialect has to."""


def folder(module: str) -> str:
    return module.partition(".")[0]


@cache
def imports(module: str) -> set[str]:
    """What a module imports: our own modules without the package's name, others by their first name."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: imports are absolute"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    ours = {name.removeprefix("ap_resume_shim.") for name in found if name.startswith("ap_resume_shim.")}
    theirs = {name.partition(".")[0] for name in found if not name.startswith("ap_resume_shim")}
    return {name if folder(name) in MAY_IMPORT else f"__init__.{name}" for name in ours} | theirs


def test_every_folder_has_a_row_and_the_rows_have_no_circle() -> None:
    assert {folder(module) for module in MODULES} == set(MAY_IMPORT)
    tuple(TopologicalSorter({name: ours for name, (ours, _) in MAY_IMPORT.items()}).static_order())


@pytest.mark.parametrize("module", sorted(MODULES))
def test_a_module_imports_what_its_folder_may(module: str) -> None:
    ours, theirs = MAY_IMPORT[folder(module)]
    allowed = ours | theirs | {folder(module)} | set(sys.stdlib_module_names)
    assert {folder(name) for name in imports(module)} <= allowed


@pytest.mark.parametrize("module", sorted(name for name in MODULES if folder(name) in PURE and name != REGISTRY))
def test_a_pure_module_has_no_clock_no_loop_and_makes_no_ids(module: str) -> None:
    text = MODULES[module].read_text("utf-8")
    assert not {folder(name) for name in imports(module)} & IMPURE
    assert not re.search(r"\buuid[1467]\b", text)
    asynchronous = (ast.AsyncFunctionDef, ast.AsyncFor, ast.AsyncWith, ast.Await)
    assert not [node for node in ast.walk(ast.parse(text)) if isinstance(node, asynchronous)]


@pytest.mark.parametrize("module", sorted(name for name in MODULES if re.match(r"backends\.\w+\.", name)))
def test_no_backend_imports_another(module: str) -> None:
    family = ".".join(module.split(".")[:2])
    assert not [name for name in imports(module) if folder(name) == "backends" and not name.startswith(f"{family}.")]


@pytest.mark.parametrize(
    ("library", "modules"),
    [
        ("httpx", ["proxy.fenced_network", "proxy.httpx_transport"]),
        ("httpcore", ["proxy.fenced_network", "proxy.httpx_transport"]),
        ("websockets", ["proxy.websocket", "proxy.websocket_connection"]),
        ("redis", ["guard.redis", "guard.redis_faults"]),
        ("cryptography", ["guard.sealing"]),
    ],
)
def test_a_library_is_imported_in_one_place(library: str, modules: list[str]) -> None:
    assert [name for name in sorted(MODULES) if library in imports(name)] == modules


def test_the_top_level_has_five_modules() -> None:
    top = {name for name in MODULES if "." not in name}
    assert top == {"__init__", "__main__", "_shutdown", "dialects", "middleware"}


def test_no_module_has_more_than_350_lines() -> None:
    lines = {name: len(path.read_text("utf-8").splitlines()) for name, path in MODULES.items()}
    assert {name: count for name, count in lines.items() if count > 350} == {}


INTERNAL = re.compile(r"(?:from|import) ap_resume_shim\.(?!dialects\b|proxy import|guard import)")


def test_docs_and_the_typing_test_import_the_public_api_alone() -> None:
    project = ROOT.parent
    pages = [*project.glob("*.md"), *(project / "docs").rglob("*.md"), project / "tests/typing/api.py"]
    assert not [str(page) for page in pages if INTERNAL.search(page.read_text("utf-8"))]
