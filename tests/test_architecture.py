"""Who may import whom."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest

import ap_resume_shim

ROOT = Path(ap_resume_shim.__file__).parent
MODULES = {".".join(path.relative_to(ROOT.parent).with_suffix("").parts): path for path in ROOT.rglob("*.py")}
US = "ap_resume_shim"
SHELL = (
    "forwarding",
    "health",
    "lines",
    "logs",
    "tracing",
    "middleware",
    "upstream",
    "bodies",
    "driving",
    "offload",
    "resumption",
    "replies",
    "closing",
    "watching",
    "describing",
    "explaining",
    "assuming",
    "guard.__init__",
    "guard.arrival",
    "guard.memory",
    "guard.clock",
    "guard.fallback",
    "guard.ledger",
    "guard.outbox",
    "guard.contents",
    "guard.sealing",
    "guard.redis",
    "guard.redis_arrival",
    "guard.redis_faults",
    "guard.redis_ledger",
    "guard.scripts",
)
SIDECAR = {f"{US}.{name}" for name in ("settings", "sources", "assembly", "sockets", "serving", "cli")}
IMPURE = {"asyncio", "time", "random", "os", "logging", "secrets", "threading", "socket", "subprocess"}


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


def makes_no_ids(module: str) -> bool:
    """Whether a module uses no UUID but those that follow from a name."""
    return not re.search(r"\buuid[1467]\b", MODULES[module].read_text("utf-8"))


@pytest.mark.parametrize("module", below("core"))
def test_the_core_is_pure(module: str) -> None:
    others = {name for name in imports(module) if not name.startswith(f"{US}.core.")}
    assert others <= (set(sys.stdlib_module_names) | {"pydantic"}) - IMPURE
    assert makes_no_ids(module)
    asynchronous = (ast.AsyncFunctionDef, ast.AsyncFor, ast.AsyncWith, ast.Await)
    assert not [node for node in ast.walk(ast.parse(MODULES[module].read_text())) if isinstance(node, asynchronous)]


@pytest.mark.parametrize("module", [name for name in below("backends") if name != f"{US}.backends.__init__"])
def test_no_backend_imports_another(module: str) -> None:
    family = module.rpartition(".")[2].split("_")[0]
    assert not strangers(module, "core.", f"backends.{'langgraph' if family == 'aegra' else family}_")
    assert imports(module) <= set(sys.stdlib_module_names) - IMPURE | {n for n in imports(module) if n.startswith(US)}
    assert makes_no_ids(module)


@pytest.mark.parametrize("module", [f"{US}.{name}" for name in SHELL])
def test_the_shell_does_not_know_where_the_backend_is(module: str) -> None:
    assert not imports(module) & {"httpx", f"{US}.proxy", f"{US}.cli"}


def test_what_writes_a_line_knows_nothing_of_what_stands_in_it() -> None:
    assert not strangers(f"{US}.lines")
    assert not strangers(f"{US}.tracing")


def test_the_proxy_knows_nothing_of_resumes() -> None:
    ours = ("closing", "core.errors", "core.strictjson", "extensions", "forwarding", "hops", "transports", "upstream")
    assert not strangers(f"{US}.proxy", *ours, "clients", "loops", "websocket")
    assert not strangers(f"{US}.clients", "extensions", "hops", "transports")
    assert not strangers(f"{US}.loops", "forwarding")
    assert not strangers(f"{US}.websocket", "core.errors", "core.strictjson", "transports")


@pytest.mark.parametrize("module", below("transports"))
def test_a_transport_knows_nothing_but_its_seam(module: str) -> None:
    assert not strangers(module, "core.errors", "transports")


@pytest.mark.parametrize("module", below("wire"))
def test_the_wire_knows_nothing_of_resumes(module: str) -> None:
    assert not strangers(module, "core.errors", "extensions", "replies", "transports", "wire")


@pytest.mark.parametrize("module", ["hops", "extensions", "wire.heads", "wire.pieces"])
def test_what_is_said_of_heads_is_pure(module: str) -> None:
    assert not imports(f"{US}.{module}") & (IMPURE | {"starlette"})


@pytest.mark.parametrize(
    ("library", "modules"),
    [
        ("httpx", ["transports.httpx"]),
        ("websockets", ["websocket"]),
        ("redis", ["guard.redis", "guard.redis_faults"]),
        ("cryptography", ["guard.sealing"]),
    ],
)
def test_a_library_is_imported_in_one_place(library: str, modules: list[str]) -> None:
    assert [name for name in sorted(MODULES) if library in imports(name)] == [f"{US}.{module}" for module in modules]


def test_bodies_and_flows_are_handled_apart_from_all_else() -> None:
    assert not strangers(f"{US}.offload")
    for module in ("bodies", "driving"):
        assert not strangers(f"{US}.{module}", "core.", "offload")


def test_the_command_line_is_imported_by_main_alone() -> None:
    assert [module for module in sorted(MODULES) if f"{US}.cli" in imports(module)] == [f"{US}.__main__"]


def test_the_sidecar_is_imported_by_itself_and_main_alone() -> None:
    assert [module for module in sorted(MODULES) if imports(module) & SIDECAR and module not in SIDECAR] == [
        f"{US}.__main__"
    ]


def test_settings_know_nothing_of_what_is_made_of_them() -> None:
    assert not strangers(f"{US}.settings", "backends", "core.errors", "core.idempotency", "guard.memory")
    assert not strangers(f"{US}.sources", "core.errors", "settings")


@pytest.mark.parametrize("module", below("guard"))
def test_a_guard_knows_nothing_of_http(module: str) -> None:
    assert not strangers(module, "closing", "core.errors", "core.exchange", "core.strictjson", "guard")
