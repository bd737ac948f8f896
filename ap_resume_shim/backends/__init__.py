"""The registry of backends: dialects in Python, one package for each family, and profiles in `toml/`.

The registry scans the folder. A family's package exports its dialects in `__all__`. The folder of a dialect or profile
contains `<name>.example.json`, its recorded example for `explain`. Other packages register a subclass of `Dialect`
under the entry point group `ap_resume_shim.backends`, with the name for `backend=`.
"""

from __future__ import annotations

import difflib
import logging
import os
import pkgutil
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from ap_resume_shim.backends.detection import NATIVE
from ap_resume_shim.backends.langgraph.conventions import Commands, CreateRun
from ap_resume_shim.core.dialect import Dialect
from ap_resume_shim.core.errors import ConfigurationError
from ap_resume_shim.core.fingerprint import Fingerprint
from ap_resume_shim.core.vendor_resume import Convention
from ap_resume_shim.profiles.dialect import ProfileDialect
from ap_resume_shim.profiles.loading import load_profile
from ap_resume_shim.profiles.schema import ANOTHER_KIND

logger = logging.getLogger("ap_resume_shim")

ENTRY_POINTS = "ap_resume_shim.backends"


def backend_names() -> tuple[str, ...]:
    """Return the names of this package's backends. `backend=` also accepts "auto", "native" and installed backends."""
    return tuple(sorted((*_dialects(), *_profiles())))


def load_backend(name: str, *, resume_at: str | None = None, options: Mapping[str, str] | None = None) -> Dialect[Any]:
    """Return the dialect with that name.

    `resume_at` is the place of the answer in the body, as a JSON pointer such as `/command/resume`; only profiles
    support it. `options` are arguments of the dialect's `__init__`. Raises `ConfigurationError` for an unknown name, an
    unknown option, or a package that cannot be loaded.
    """
    if name in _profiles():
        return _profile(_profiles()[name], f"{name}.toml", resume_at, options)
    if resume_at is not None:
        raise ConfigurationError(f"resume_at has no meaning for {name}: its place for the answer is fixed.")
    return _create(name, _dialect(name), options or {})


def read_profile(path: str | os.PathLike[str], *, resume_at: str | None = None) -> Dialect[Any]:
    """Return the dialect for a profile (`docs/reference/profile.md`).

    `resume_at` is as for `load_backend`. Raises `ConfigurationError` for a file that is unreadable or invalid.
    """
    try:
        text = Path(path).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"The profile {path} cannot be read: {error}") from None
    return _profile(text, str(path), resume_at, None)


def configured_dialect(
    backend: str | Dialect[Any] | os.PathLike[str],
    profile: str | os.PathLike[str] | None,
    *,
    resume_at: str | None = None,
    options: Mapping[str, str] | None = None,
) -> Dialect[Any] | None:
    """Return the dialect that `ResumeShim` is configured with; None for "auto" and "native".

    Raises `ConfigurationError`.
    """
    if isinstance(backend, os.PathLike):
        backend, profile = "auto", backend
    if profile is not None:
        if backend != "auto" or options:
            raise ConfigurationError("`profile` already describes the backend: omit `backend` and `options`.")
        return read_profile(profile, resume_at=resume_at)
    if not isinstance(backend, str):
        return backend
    return None if backend in ("auto", NATIVE) else load_backend(backend, resume_at=resume_at, options=options)


def installed() -> dict[str, Any]:
    """Return the entry points of backends in other packages, by name, without loading them."""
    return {point.name: point for point in entry_points(group=ENTRY_POINTS)}


def known_fingerprints() -> dict[str, tuple[Fingerprint, ...]]:
    """Return the fingerprints of all backends by name, in the order in which detection compares them.

    The highest `Dialect.specificity` comes first. Among equals, backends of other packages come first, then names in
    alphabetical order.
    """
    found: dict[str, Dialect[Any]] = {}
    for name in (*installed(), *backend_names()):
        try:
            found[name] = found.get(name) or load_backend(name)
        except ConfigurationError as error:  # a broken package must not prevent the detection of other backends
            logger.warning("%s", error)
    return {
        name: dialect.fingerprints for name, dialect in sorted(found.items(), key=lambda item: -item[1].specificity)
    }


def recorded_example(name: str) -> Traversable | None:
    """Return the file with the recorded example of a backend of this package; None for other backends."""
    return next((file for file in _files() if file.name == f"{name}.example.json"), None)


@cache
def _dialects() -> dict[str, type[Dialect[Any]]]:
    packages = (import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__) if found.ispkg)
    classes = (getattr(package, name) for package in packages for name in package.__all__)
    return {dialect.name: dialect for dialect in classes}


@cache
def _profiles() -> dict[str, str]:
    """Return the text of each profile, by name."""
    return {
        file.name.removesuffix(".toml"): file.read_text("utf-8") for file in _files() if file.name.endswith(".toml")
    }


def _files() -> Iterator[Traversable]:
    """Yield the files of all folders in this package."""
    for folder in files(__name__).iterdir():
        if folder.is_dir():
            yield from folder.iterdir()


def _dialect(name: str) -> Any:
    if name in _dialects():
        return _dialects()[name]
    added = installed()
    if name in added:
        try:
            return added[name].load()
        except Exception as error:  # importing another package may raise anything
            raise ConfigurationError(f"The backend {name!r} cannot be loaded: {error!r}") from None
    names = (*backend_names(), *added)
    near = difflib.get_close_matches(name, names, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise ConfigurationError(
        f"Unknown backend {name!r}; there are auto, native, {', '.join(names)}.{hint} {ANOTHER_KIND}"
    )


def _create(name: str, kind: Any, options: Mapping[str, str]) -> Dialect[Any]:
    known: Mapping[str, str] = getattr(kind, "options", {})
    for option in options:
        if option not in known:
            near = difflib.get_close_matches(option, known, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else f" It has {', '.join(known) or 'none'}."
            raise ConfigurationError(f"The backend {name!r} has no option {option!r}.{hint}")
    dialect = kind(**options)
    if not isinstance(dialect, Dialect):
        raise ConfigurationError(f"The backend {name!r} is not an ap_resume_shim.dialects.Dialect, but {dialect!r}.")
    return dialect


def _profile(text: str, source: str, resume_at: str | None, options: Mapping[str, str] | None) -> Dialect[Any]:
    if options:
        raise ConfigurationError(f"{source} is a profile, which has no options, but there is {', '.join(options)}.")
    profile = load_profile(text, source=source, others=_profiles())
    conventions = tuple(_CONVENTIONS[name] for name in profile.conventions)
    return ProfileDialect(profile, resume_at=resume_at, conventions=conventions)


_CONVENTIONS: Mapping[str, Convention] = {
    "langgraph-v1": CreateRun(),
    "langgraph-input-respond": Commands(run_start_answers=False),
}
"""The conventions that a profile may name."""
