"""Where settings come from: a flag counts more than the environment, that more than a file, that more than the default.

pydantic-settings reads them. What is added here is what a person needs who got one wrong: where it stands, and what it
may have been meant to be.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from argparse import ArgumentParser
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, FilePath, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    CliApp,
    CliSettingsSource,
    PydanticBaseSettingsSource,
    SettingsError,
    TomlConfigSettingsSource,
)

from ap_resume_shim.core.errors import ConfigurationError
from ap_resume_shim.sidecar.settings import ENVIRONMENT, GROUPS, NAMES, Settings, kebab, masked


class WrongSettings(ConfigurationError):
    """Settings that cannot be used: a line for each thing that is wrong."""

    def __init__(self, lines: Iterable[str]) -> None:
        """Passwords of addresses are masked."""
        self.lines = [masked(line) for line in lines]
        super().__init__("\n".join(self.lines))


class Serve(Settings):
    """Run the sidecar: the resume routes in front of a server, everything else passed through to it."""

    config: Annotated[
        FilePath | None, Field(description="TOML file of settings, or one with a section [tool.ap-resume-shim]")
    ] = None
    check: Annotated[bool, Field(description="say what is in effect, or what is wrong, and leave")] = False

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], *_: PydanticBaseSettingsSource, **sources: PydanticBaseSettingsSource
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """After the flags: the environment, then the file."""
        return sources["env_settings"], _FileSource(settings_cls, toml_file=None)


def read(argv: Sequence[str]) -> Serve:
    """The settings of a command line. Raises `WrongSettings`; leaves when all that is wanted is help."""
    flags = {flag for name in Serve.model_fields for flag in (f"--{kebab(name)}", f"--no-{kebab(name)}")} | {"--help"}
    variables = {ENVIRONMENT + name.upper() for name in Serve.model_fields}
    given = [word.partition("=")[0] for word in argv if word.startswith("--")]
    named = [name for name in map(str.upper, os.environ) if name.startswith(ENVIRONMENT)]
    if strangers := [*_strangers("flag", given, flags), *_strangers("environment variable", named, variables)]:
        raise WrongSettings(strangers)
    try:
        flagged = CliSettingsSource[Any](Serve, add_argument_method=_Grouping())
        return CliApp.run(Serve, cli_args=list(argv), cli_settings_source=flagged)
    except SettingsError as error:
        raise WrongSettings([str(error).removeprefix("error parsing CLI: ")]) from None
    except ValidationError as error:
        path = _config_flag(argv) or os.environ.get(f"{ENVIRONMENT}CONFIG")
        file = _File(path) if path and Path(path).is_file() else None
        raise WrongSettings(_line(item, argv, file) for item in error.errors()) from None


def _config_flag(argv: Sequence[str]) -> str | None:
    parser = ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--config")
    path: str | None = parser.parse_known_args(argv)[0].config
    return path


class _Grouping:
    """Puts each flag under the title of its group, in what `--help` says."""

    def __init__(self) -> None:
        self._titles = {name: group.__doc__ for group in GROUPS for name in group.model_fields}
        self._made: dict[str | None, Any] = {}

    def __call__(self, parser: ArgumentParser, *names: str, **options: Any) -> None:
        title = self._titles.get(options.get("dest", ""))
        if title is not None and title not in self._made:
            self._made[title] = parser.add_argument_group(title)
        self._made.get(title, parser).add_argument(*names, **options)


def _strangers(kind: str, given: Iterable[str], known: Collection[str]) -> Iterator[str]:
    """A line for each name that there is not, with the nearest one that there is."""
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            yield f"unknown {kind} {name}" + (f"; did you mean {near[0]}?" if near else "")


def _line(item: ErrorDetails, argv: Sequence[str], file: _File | None) -> str:
    """What is wrong with a setting, where it came from, and what is expected."""
    says = str(item["ctx"]["error"]) if item["type"] == "value_error" else item["msg"]
    return f"{_origin(str(item['loc'][0]), argv, file)}: {says}" if item["loc"] else says


def _origin(name: str, argv: Sequence[str], file: _File | None) -> str:
    flag, variable = f"--{kebab(name)}", ENVIRONMENT + name.upper()
    if {flag, f"--no-{kebab(name)}"} & {word.partition("=")[0] for word in argv}:
        return flag
    if variable in map(str.upper, os.environ):
        return variable
    return f"{file.place(name)}: {kebab(name)}" if file and name in file.values else flag


class _FileSource(TomlConfigSettingsSource):
    """The TOML file that the setting `config` names: it is known when flags and the environment were read."""

    def __call__(self) -> dict[str, Any]:
        """Its values. Raises `WrongSettings`."""
        path = self.current_state.get("config")
        return _File(path).values if path and Path(path).is_file() else {}


class _File:
    """A TOML file of settings: one of its own, or a section of one that others use as well."""

    def __init__(self, path: str) -> None:
        """Read it. Raises `WrongSettings`: it is no TOML, or has keys that are no settings."""
        self._path = path
        try:
            text = Path(path).read_text("utf-8")
            table = tomllib.loads(text)
        except (OSError, ValueError) as error:
            raise WrongSettings([f"{path}: {error}"]) from None
        self._lines = text.splitlines()
        if "tool" in table:
            table = table["tool"].get("ap-resume-shim")
            if table is None:
                raise WrongSettings([f"{path}: there is no section [tool.ap-resume-shim] in it"])
        known = [kebab(name) for name in NAMES]
        if strangers := [
            f"{self.place(key)}: {line}" for key in table for line in _strangers("setting", [kebab(key)], known)
        ]:
            raise WrongSettings(strangers)
        self.values = {key.replace("-", "_"): value for key, value in table.items()}
        if len(self.values) < len(table):
            raise WrongSettings([f"{path}: a setting is in it twice, with dashes and without"])

    def place(self, name: str) -> str:
        """Where a setting stands: the first line that looks like it, which is enough for a message."""
        key = re.escape(name.replace("_", "-")).replace(r"\-", "[-_]")
        section = next((n for n, line in enumerate(self._lines) if line.strip() == "[tool.ap-resume-shim]"), 0)
        for number, line in enumerate(self._lines[section:], section + 1):
            if re.match(rf"""\s*["']?{key}["']?\s*[.=]""", line):
                return f"{self._path}:{number}"
        return self._path
