"""Reads settings: flags override environment variables, which override the file, which overrides defaults.

pydantic-settings reads them. This module adds what a person needs to fix a wrong setting: its place and the nearest
valid name.
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
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from ap_resume_shim.core.errors import ConfigurationError
from ap_resume_shim.core.validation_errors import EXPECTED, expected
from ap_resume_shim.sidecar.setting_values import masked
from ap_resume_shim.sidecar.settings import GROUPS, NAMES, Settings, kebab

ENVIRONMENT = "AP_RESUME_SHIM_"
"""Prefix of the environment variables."""


class WrongSettings(ConfigurationError):
    """Settings that cannot be used. `lines` has a line for each problem."""

    def __init__(self, lines: Iterable[str]) -> None:
        """Passwords in URLs are masked."""
        self.lines = [masked(line) for line in lines]
        super().__init__("\n".join(self.lines))


class Serve(Settings, BaseSettings):
    """Run the sidecar: serve the resume routes in front of a server, and pass every other request through to it."""

    model_config = SettingsConfigDict(
        env_prefix=ENVIRONMENT,
        enable_decoding=False,  # `setting_values` splits lists
        cli_prog_name="ap-resume-shim serve",
        cli_kebab_case=True,
        cli_implicit_flags=True,
        cli_hide_none_type=True,
        cli_exit_on_error=False,
    )

    config: Annotated[
        FilePath | None, Field(description="TOML file of settings, or one with a section [tool.ap-resume-shim]")
    ] = None
    check: Annotated[bool, Field(description="check the settings, print them, and exit")] = False

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], *_: PydanticBaseSettingsSource, **sources: PydanticBaseSettingsSource
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return the sources in order of precedence. Flags come first; pydantic-settings adds them itself."""
        return sources["env_settings"], _FileSource(settings_cls, toml_file=None)


def read(argv: Sequence[str]) -> Serve:
    """Read the settings. Raises `WrongSettings`; exits if the command line asks for help."""
    flags = {flag for name in Serve.model_fields for flag in (f"--{kebab(name)}", f"--no-{kebab(name)}")} | {"--help"}
    variables = {ENVIRONMENT + name.upper() for name in Serve.model_fields}
    given = [word.partition("=")[0] for word in argv if word.startswith("--")]
    named = [name for name in map(str.upper, os.environ) if name.startswith(ENVIRONMENT)]
    if unknown := [*_unknown_names("flag", given, flags), *_unknown_names("environment variable", named, variables)]:
        raise WrongSettings(unknown)
    try:
        flagged = CliSettingsSource[Any](Serve, add_argument_method=_Grouping())
        return CliApp.run(Serve, cli_args=list(argv), cli_settings_source=flagged)
    except SettingsError as error:
        raise WrongSettings([_usage_error(str(error).removeprefix("error parsing CLI: "))]) from None
    except ValidationError as error:
        path = _config_flag(argv) or os.environ.get(f"{ENVIRONMENT}CONFIG")
        file = _File(path) if path and Path(path).is_file() else None
        raise WrongSettings(_line(item, argv, file) for item in error.errors()) from None


def _config_flag(argv: Sequence[str]) -> str | None:
    parser = ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--config")
    path: str | None = parser.parse_known_args(argv)[0].config
    return path


_METAVARS = {"str": "TEXT", "SecretStr": "TEXT", "Path": "FILE", "float": "SECONDS", "int": "N", "list[str]": "A,B"}
"""Placeholders for values in `--help`, by type: all numbers with a fraction are seconds."""
_NO_DEFAULTS = re.compile(r" \(default: (?:null|\[\]|)\)$")


class _Grouping:
    """Adds each flag to its group in the output of `--help`, with a readable placeholder."""

    def __init__(self) -> None:
        self._titles = {name: group.__doc__ for group in GROUPS for name in group.model_fields}
        self._made: dict[str | None, Any] = {}

    def __call__(self, parser: ArgumentParser, *names: str, **options: Any) -> None:
        parser.usage = "ap-resume-shim serve --upstream ADDRESS [OPTIONS]"
        if metavar := options.get("metavar"):
            options["metavar"] = _METAVARS.get(metavar, metavar)
        options["help"] = re.sub(r"(?<=default: )\[(.*)\]", _joined, _NO_DEFAULTS.sub("", options["help"]))
        title = self._titles.get(options.get("dest", ""))
        if title is not None and title not in self._made:
            self._made[title] = parser.add_argument_group(title)
        self._made.get(title, parser).add_argument(*names, **options)


def _joined(items: re.Match[str]) -> str:
    """Return the items of a list as they are written after a flag."""
    return re.sub("'(.*?)'(?:, )?", r"\1,", items[1]).rstrip(",")


def _unknown_names(kind: str, given: Iterable[str], known: Collection[str]) -> Iterator[str]:
    """Yield a line for each unknown name, with the nearest known one."""
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            yield f"unknown {kind} {name}" + (f"; did you mean {near[0]}?" if near else "")


def _usage_error(message: str) -> str:
    """Return argparse's message with what to do next."""
    if stray := re.fullmatch("unrecognized arguments: (.*)", message):
        address = next((word for word in stray[1].split() if "://" in word or word.startswith("unix:")), None)
        hint = f"did you mean --upstream {address}?" if address else "each setting is a flag, such as --port 8063"
        return f"unexpected argument {stray[1]}; {hint}"
    return re.sub("argument (--[^:]+): expected one argument", r"\1: a value is missing", message)


_EXPECTED = {
    **EXPECTED,
    "list_": 'must be a list: a,b or ["a", "b"]',
    "path_": "must be the path of an existing file",
    "string_pattern_mismatch": "must be a path that begins with a slash, such as /-, or empty",
}


def _line(item: ErrorDetails, argv: Sequence[str], file: _File | None) -> str:
    """Return a line with the place of a wrong setting and the problem."""
    name = str(item["loc"][0])
    description = Serve.model_fields[name].description
    words = {**_EXPECTED, "missing": f"is required: {description}"}
    return f"{_origin(name, argv, file)}: {expected(item, words, otherwise=f'is invalid: {description}')}"


def _origin(name: str, argv: Sequence[str], file: _File | None) -> str:
    flag, variable = f"--{kebab(name)}", ENVIRONMENT + name.upper()
    if {flag, f"--no-{kebab(name)}"} & {word.partition("=")[0] for word in argv}:
        return flag
    if variable in map(str.upper, os.environ):
        return variable
    return f"{file.place(name)}: {kebab(name)}" if file and name in file.values else flag


class _FileSource(TomlConfigSettingsSource):
    """Source for the TOML file that the setting `config` names. It runs after the flags and the environment."""

    def __call__(self) -> dict[str, Any]:
        """Return the file's values. Raises `WrongSettings`."""
        path = self.current_state.get("config")
        return _File(path).values if path and Path(path).is_file() else {}


class _File:
    """A TOML file of settings, or one with a section `[tool.ap-resume-shim]`."""

    def __init__(self, path: str) -> None:
        """Read the file. Raises `WrongSettings` if it is not TOML, or contains unknown settings."""
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
                raise WrongSettings([f"{path}: the section [tool.ap-resume-shim] is missing"])
        known = [kebab(name) for name in NAMES]
        if unknown := [
            f"{self.place(key)}: {line}" for key in table for line in _unknown_names("setting", [kebab(key)], known)
        ]:
            raise WrongSettings(unknown)
        self.values = {key.replace("-", "_"): value for key, value in table.items()}
        if len(self.values) < len(table):
            raise WrongSettings([f"{path}: a setting occurs twice, with dashes and with underscores"])

    def place(self, name: str) -> str:
        """Return file and line of a setting: the first line that looks like it, which is enough for a message."""
        key = re.escape(name.replace("_", "-")).replace(r"\-", "[-_]")
        section = next((n for n, line in enumerate(self._lines) if line.strip() == "[tool.ap-resume-shim]"), 0)
        for number, line in enumerate(self._lines[section:], section + 1):
            if re.match(rf"""\s*["']?{key}["']?\s*[.=]""", line):
                return f"{self._path}:{number}"
        return self._path
