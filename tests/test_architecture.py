"""Who may import whom."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

import ap_resume_shim

ROOT = Path(ap_resume_shim.__file__).parent
MODULES = {".".join(path.relative_to(ROOT.parent).with_suffix("").parts): path for path in ROOT.rglob("*.py")}
US = "ap_resume_shim"
SHELL = (
    "middleware",
    "upstream",
    "resumption",
    "replies",
    "closing",
    "guard.__init__",
    "guard.arrival",
    "guard.memory",
    "guard.fallback",
    "guard.redis",
    "guard.scripts",
)
IMPURE = {"asyncio", "time", "random", "uuid", "os", "logging", "secrets", "threading", "socket", "subprocess"}


def imports(module: str) -> set[str]:
    """What a module imports: our own modules by their full names, others by their first."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: imports are absolute"
            whole = {f"{node.module}.{alias.name}" for alias in node.names}
            found.update(whole & set(MODULES) or {str(node.module)})
    return {name if name.split(".")[0] == US else name.split(".")[0] for name in found}


def below(package: str) -> list[str]:
    return sorted(module for module in MODULES if f"{module}.".startswith(f"{US}.{package}."))


def strangers(module: str, *ours: str) -> set[str]:
    """Modules of ours that a module imports, but for those that it may."""
    return {n for n in imports(module) if n.startswith(US) and not n.startswith(tuple(f"{US}.{name}" for name in ours))}


@pytest.mark.parametrize("module", below("core"))
def test_the_core_is_pure(module: str) -> None:
    others = {name for name in imports(module) if not name.startswith(f"{US}.core.")}
    assert others <= (set(sys.stdlib_module_names) | {"pydantic"}) - IMPURE
    asynchronous = (ast.AsyncFunctionDef, ast.AsyncFor, ast.AsyncWith, ast.Await)
    assert not [node for node in ast.walk(ast.parse(MODULES[module].read_text())) if isinstance(node, asynchronous)]


@pytest.mark.parametrize("module", [name for name in below("backends") if name != f"{US}.backends.__init__"])
def test_no_backend_imports_another(module: str) -> None:
    assert not strangers(module, "core.", "backends.langgraph_wire")
    assert imports(module) <= set(sys.stdlib_module_names) - IMPURE | {n for n in imports(module) if n.startswith(US)}


@pytest.mark.parametrize("module", [f"{US}.{name}" for name in SHELL])
def test_the_shell_does_not_know_where_the_backend_is(module: str) -> None:
    assert not imports(module) & {"httpx", f"{US}.proxy", f"{US}.cli"}


def test_the_proxy_knows_nothing_of_resumes() -> None:
    assert not strangers(f"{US}.proxy", "closing", "core.errors", "core.strictjson", "upstream")


def test_httpx_is_imported_by_the_proxy_alone() -> None:
    assert [module for module in sorted(MODULES) if "httpx" in imports(module)] == [f"{US}.proxy"]


def test_the_command_line_is_imported_by_main_alone() -> None:
    assert [module for module in sorted(MODULES) if f"{US}.cli" in imports(module)] == [f"{US}.__main__"]


def test_redis_is_imported_by_its_guard_alone() -> None:
    assert [module for module in sorted(MODULES) if "redis" in imports(module)] == [f"{US}.guard.redis"]


@pytest.mark.parametrize("module", below("guard"))
def test_a_guard_knows_nothing_of_http(module: str) -> None:
    assert not strangers(module, "closing", "core.errors", "core.exchange", "core.strictjson", "guard")
