"""The backends: one file each, a TOML profile where data is enough, a dialect in Python where it is not."""

from __future__ import annotations

import difflib
from importlib.resources import files

from ap_resume_shim.backends.aegra import Aegra
from ap_resume_shim.backends.langgraph import LangGraph
from ap_resume_shim.core.dialect import Dialect
from ap_resume_shim.core.errors import ConfigurationError
from ap_resume_shim.core.profile import load_profile
from ap_resume_shim.core.profile_dialect import ProfileDialect

_DIALECTS: dict[str, type[LangGraph] | type[Aegra]] = {"langgraph": LangGraph, "aegra": Aegra}
_PROFILES = {"agent-protocol": "agent_protocol.toml"}

BACKENDS = (*_DIALECTS, *_PROFILES)
"""The names that `backend=` takes, besides "auto" and "native"."""


def load_backend(name: str, *, resume_at: str | None = None) -> Dialect:
    """The dialect of that name.

    `resume_at` is for backends whose answer can sit in several places: a JSON pointer into the create-run body, such
    as `/command/resume`. Raises `ConfigurationError`.
    """
    if name in _DIALECTS:
        if resume_at is not None:
            raise ConfigurationError(f"resume_at has no meaning for {name}: its place for the answer is fixed.")
        return _DIALECTS[name]()
    if name in _PROFILES:
        text = files(__package__).joinpath(_PROFILES[name]).read_text("utf-8")
        return ProfileDialect(load_profile(text, source=_PROFILES[name]), resume_at=resume_at)
    near = difflib.get_close_matches(name, BACKENDS, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise ConfigurationError(f"Unknown backend {name!r}; there are auto, native, {', '.join(BACKENDS)}.{hint}")
