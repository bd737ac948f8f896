"""The architecture: ARCHITECTURE.md has one row for each folder, and what a row does not name is forbidden."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import ap_resume_shim

ROOT = Path(ap_resume_shim.__file__).parent
MODULES = {path.relative_to(ROOT).with_suffix("").as_posix().replace("/", "."): path for path in ROOT.rglob("*.py")}

_ROWS = re.findall(
    r"^\| `(\w+)(?:\.py)?` \| .* \| (.*) \|$", (ROOT.parent / "ARCHITECTURE.md").read_text("utf-8"), re.M
)


def _row(cell: str) -> tuple[set[str], set[str]]:
    """Return the folders and the libraries in a cell, such as "`core`, `guard`; starlette"."""
    ours = {name for name, _ in _ROWS} - {"__main__", "sidecar"} if "everything" in cell else set(_QUOTED.findall(cell))
    return ours, set(re.findall(r"\w+", _QUOTED.sub("", cell))) - {"everything", "nothing"}


_QUOTED = re.compile(r"`(\w+)`")
MAY_IMPORT = {name: _row(cell) for name, cell in _ROWS}
"""The table in ARCHITECTURE.md: for each folder, our folders and the libraries that it may import."""
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
        ("httpx", ["demo.double_click", "proxy.fenced_network", "proxy.httpx_transport"]),
        ("httpcore", ["proxy.fenced_network", "proxy.httpx_transport"]),
        ("websockets", ["http1.websocket", "proxy.websocket", "proxy.websocket_connection"]),
        ("redis", ["guard.redis", "guard.redis_faults"]),
        ("cryptography", ["guard.sealing"]),
        ("prometheus_client", ["metrics"]),
        ("opentelemetry", ["tracing"]),
    ],
)
def test_a_library_is_imported_in_one_place(library: str, modules: list[str]) -> None:
    assert [name for name in sorted(MODULES) if library in imports(name)] == modules


def test_the_top_level_has_seven_modules() -> None:
    top = {name for name in MODULES if "." not in name}
    assert top == {"__init__", "__main__", "_shutdown", "dialects", "metrics", "middleware", "tracing"}


def test_no_module_has_more_than_350_lines() -> None:
    lines = {name: len(path.read_text("utf-8").splitlines()) for name, path in MODULES.items()}
    assert {name: count for name, count in lines.items() if count > 350} == {}


CONSTRUCTORS = {"__init__", "__post_init__", "connection_made"}
"""The last one is asyncio's, which calls it once, before any other method of a protocol."""


def mutable_fields(kind: ast.ClassDef) -> set[str]:
    """Return the names of the attributes that are assigned after the construction."""
    methods = [each for each in kind.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)]
    nodes = [node for each in methods if each.name not in CONSTRUCTORS for node in ast.walk(each)]
    stored = [node for node in nodes if isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load)]
    return {node.attr for node in stored if isinstance(node.value, ast.Name) and node.value.id == "self"}


def test_no_class_has_more_than_ten_mutable_fields() -> None:
    counts = {
        f"{module}.{node.name}": len(mutable_fields(node))
        for module, path in MODULES.items()
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.ClassDef)
    }
    assert {name: count for name, count in counts.items() if count > 10} == {}


INTERNAL = re.compile(
    r"(?:from|import) ap_resume_shim\.(?!(?:dialects|metrics|tracing)\b|(?:proxy|guard|policy|demo) import)"
)


def test_docs_and_the_typing_test_import_the_public_api_alone() -> None:
    project = ROOT.parent
    pages = [*project.glob("*.md"), *(project / "docs").rglob("*.md"), project / "tests/typing/api.py"]
    assert not [str(page) for page in pages if INTERNAL.search(page.read_text("utf-8"))]


def test_the_middleware_alone_imports_neither_the_proxy_nor_an_http_client() -> None:
    absent = (
        "httpx",
        "httpcore",
        "httptools",
        "redis",
        "ap_resume_shim.proxy",
        "ap_resume_shim.policy",
        "ap_resume_shim.runtime.questions",
        "ap_resume_shim.sidecar",
    )
    assert loaded("import ap_resume_shim; ap_resume_shim.ResumeShim(None, 'langgraph')", *absent) == []


def test_the_sidecar_imports_the_policy_only_if_there_is_one() -> None:
    assert loaded("import ap_resume_shim.sidecar.cli", "ap_resume_shim.policy") == []


def loaded(code: str, *names: str) -> list[str]:
    """Return those modules that are imported when a new process has run the code."""
    code = f"import sys; {code}; print(*(name for name in {names} if name in sys.modules))"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    return printed.stdout.split()
