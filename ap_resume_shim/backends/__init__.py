"""The registry of backends: dialects in Python, one package a family, and profiles in `toml/`; found by scanning.

A family's package exports its dialects in `__all__`. Beside a dialect or a profile stands `<name>.example.json`, its
recorded example for `explain`. Other packages register a subclass of `Dialect` under the entry point
`ap_resume_shim.backends`, by the name that `backend=` takes.
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

from ap_resume_shim.core.dialect import Dialect, Fingerprint
from ap_resume_shim.core.errors import ConfigurationError
from ap_resume_shim.profiles.dialect import ProfileDialect
from ap_resume_shim.profiles.loading import load_profile
from ap_resume_shim.profiles.schema import ANOTHER_KIND

logger = logging.getLogger("ap_resume_shim")

ENTRY_POINTS = "ap_resume_shim.backends"


def backend_names() -> tuple[str, ...]:
    """The names of the backends of this package, which `backend=` takes besides "auto", "native" and installed ones."""
    return tuple(sorted((*_dialects(), *_profiles())))


def load_backend(name: str, *, resume_at: str | None = None, options: Mapping[str, str] | None = None) -> Dialect[Any]:
    """Return the dialect of that name.

    `resume_at` is the place of the answer in the body, as a JSON pointer such as `/command/resume`; only profiles take
    it. `options` are arguments of the dialect's `__init__`. Raises `ConfigurationError`.
    """
    if name in _profiles():
        return _profile(_profiles()[name], f"{name}.toml", resume_at, options)
    if resume_at is not None:
        raise ConfigurationError(f"resume_at has no meaning for {name}: its place for the answer is fixed.")
    return _create(name, _dialect(name), options or {})


def read_profile(path: str | os.PathLike[str], *, resume_at: str | None = None) -> Dialect[Any]:
    """Return the dialect that a file describes (`docs/reference/profile.md`). Raises `ConfigurationError`."""
    try:
        text = Path(path).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"The profile {path} cannot be read: {error}") from None
    return _profile(text, str(path), resume_at, None)


def installed() -> dict[str, Any]:
    """The entry points of backends in other packages, by name; not loaded yet."""
    return {point.name: point for point in entry_points(group=ENTRY_POINTS)}


def known_fingerprints() -> dict[str, tuple[Fingerprint, ...]]:
    """The fingerprints of all backends by name, in the order in which detection compares them.

    The highest `Dialect.specificity` comes first; of equal ones those of other packages, then by name.
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
    """The file with the recorded example of a backend of this package; None for other backends."""
    return next((file for file in _files() if file.name == f"{name}.example.json"), None)


@cache
def _dialects() -> dict[str, type[Dialect[Any]]]:
    packages = (import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__) if found.ispkg)
    classes = (getattr(package, name) for package in packages for name in package.__all__)
    return {dialect.name: dialect for dialect in classes}


@cache
def _profiles() -> dict[str, str]:
    """The text of each profile, by name."""
    return {
        file.name.removesuffix(".toml"): file.read_text("utf-8") for file in _files() if file.name.endswith(".toml")
    }


def _files() -> Iterator[Traversable]:
    """The files of all folders beside this module."""
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
        except Exception as error:  # whatever another package raises when it is imported
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
    return ProfileDialect(load_profile(text, source=source, others=_profiles()), resume_at=resume_at)
