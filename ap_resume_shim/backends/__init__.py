"""The backends: one file each, a TOML profile where data is enough, a dialect in Python where it is not.

A package adds its own under the entry point `ap_resume_shim.backends`: a subclass of `Dialect`, by the name that
`backend=` shall take.
"""

from __future__ import annotations

import difflib
import logging
import os
from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import entry_points
from importlib.resources import files
from pathlib import Path
from typing import Any

from ap_resume_shim.core.dialect import Dialect, Fingerprint
from ap_resume_shim.core.errors import ConfigurationError
from ap_resume_shim.profiles.dialect import ProfileDialect
from ap_resume_shim.profiles.schema import ANOTHER_KIND, load_profile

logger = logging.getLogger("ap_resume_shim")

ENTRY_POINTS = "ap_resume_shim.backends"

_DIALECTS = {
    "langgraph": "langgraph:LangGraph",
    "aegra": "aegra:Aegra",
    "agno": "agno:Agno",
    "mastra": "mastra:Mastra",
    "mastra-agent": "mastra_agent:MastraAgent",
    "llamaindex": "llamaindex:LlamaIndex",
    "adk": "adk:Adk",
    "a2a": "a2a:A2A",
    "acp": "acp:Acp",
    "ag-ui": "ag_ui:AgUi",
}
_PROFILES = (
    "agent-protocol",
    "agntcy",
    "agentseek",
    "duragraph",
    "run-resume",
    "run-resume-body",
    "run-resume-wait",
    "run-resume-stream",
)

BACKENDS = (*_DIALECTS, *_PROFILES)
"""The names that `backend=` takes, besides "auto", "native" and those of installed packages."""


def load_backend(name: str, *, resume_at: str | None = None, options: Mapping[str, str] | None = None) -> Dialect:
    """The dialect of that name.

    `resume_at` is for backends that are profiles: the place of the answer, as a JSON pointer into the body, such as
    `/command/resume`. `options` are what a dialect has to be told beside. Raises `ConfigurationError`.
    """
    if name in _PROFILES:
        source = f"{name.replace('-', '_')}.toml"
        return _of_profile(files(__package__).joinpath(source).read_text("utf-8"), source, resume_at, options)
    if resume_at is not None:
        raise ConfigurationError(f"resume_at has no meaning for {name}: its place for the answer is fixed.")
    return _made(name, _dialect(name), options or {})


def read_profile(path: str | os.PathLike[str], *, resume_at: str | None = None) -> Dialect:
    """The dialect that a file describes (`docs/reference/profile.md`). Raises `ConfigurationError`."""
    try:
        text = Path(path).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"The profile {path} cannot be read: {error}") from None
    return _of_profile(text, str(path), resume_at, None)


def installed() -> dict[str, Any]:
    """The backends that other packages have added, by name, not loaded yet."""
    return {point.name: point for point in entry_points(group=ENTRY_POINTS)}


def known_fingerprints() -> dict[str, tuple[Fingerprint, ...]]:
    """How the backends are told from each other, the more particular first; those of other packages before ours."""
    found = {}
    for name in installed():
        try:
            found[name] = load_backend(name).fingerprints
        except ConfigurationError as error:  # of another package, which may be broken: no reason to know none of ours
            logger.warning("%s", error)
    ours = ("aegra", *(name for name in BACKENDS if name not in _LAST), *_LAST)
    return {**found, **{name: load_backend(name).fingerprints for name in ours if name not in found}}


_LAST = ("langgraph", "agent-protocol", "a2a")  # agentseek tells LangGraph's version as well
"""Servers of many kinds have such routes, or such a card, beside their own."""


def _dialect(name: str) -> Any:
    if name in _DIALECTS:
        module, _, attribute = _DIALECTS[name].partition(":")
        return getattr(import_module(f"{__package__}.{module}"), attribute)
    added = installed()
    if name in added:
        try:
            return added[name].load()
        except Exception as error:  # whatever another package raises when it is imported
            raise ConfigurationError(f"The backend {name!r} cannot be loaded: {error!r}") from None
    near = difflib.get_close_matches(name, (*BACKENDS, *added), n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise ConfigurationError(
        f"Unknown backend {name!r}; there are auto, native, {', '.join((*BACKENDS, *added))}.{hint} {ANOTHER_KIND}"
    )


def _made(name: str, kind: Any, options: Mapping[str, str]) -> Dialect:
    known: Mapping[str, str] = getattr(kind, "options", {})
    for option in options:
        if option not in known:
            near = difflib.get_close_matches(option, known, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else f" It has {', '.join(known) or 'none'}."
            raise ConfigurationError(f"The backend {name!r} has no option {option!r}.{hint}")
    dialect = kind(**options)
    if not isinstance(dialect, Dialect):
        raise ConfigurationError(f"The backend {name!r} is no ap_resume_shim.core.dialect.Dialect, but {dialect!r}.")
    return dialect


def _of_profile(text: str, source: str, resume_at: str | None, options: Mapping[str, str] | None) -> Dialect:
    if options:
        raise ConfigurationError(f"{source} is a profile, which has no options, but there is {', '.join(options)}.")
    return ProfileDialect(load_profile(text, source=source), resume_at=resume_at)
