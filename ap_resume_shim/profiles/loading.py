"""Loads a profile from its file, reports the line of every mistake, and returns the JSON schema of profiles."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

from ap_resume_shim.core.errors import ConfigurationError
from ap_resume_shim.core.validation_errors import EXPECTED, problems
from ap_resume_shim.profiles.schema import (
    AgentTable,
    DetectTable,
    ErrorTable,
    FoundTable,
    InterruptTable,
    ListTable,
    LookupTable,
    PickTable,
    Profile,
    ResumeTable,
    RunTable,
    StatusTable,
    StreamTable,
    Table,
    WaitTable,
)


def profile_schema() -> dict[str, Any]:
    """Return the JSON schema of profiles, for editors.

    Keys are required unless `extends` can supply them. Rules that a schema cannot express are checked when a profile is
    loaded.
    """
    schema = Profile.model_json_schema(by_alias=True)
    complete = {"required": schema.pop("required")}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "ap-resume-shim profile",
        "if": {"required": ["extends"]},
        "else": complete,
    }


def load_profile(text: str, *, source: str = "profile", others: Mapping[str, str] = MappingProxyType({})) -> Profile:
    """Parse and validate a profile. `others` are the texts of the profiles that it may extend, by name.

    Raises `ConfigurationError` with the line of every mistake, and the nearest valid key.
    """
    try:
        tables = _extended(tomllib.loads(text), source, others)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{source}: {error}") from None
    try:
        return Profile.model_validate(tables)
    except ValidationError as error:
        lines = [f"{source}: {_explain(place, problem, text)}" for place, problem in problems(error, tables, _EXPECTED)]
        raise ConfigurationError("\n".join(lines)) from None


def _extended(tables: dict[str, Any], source: str, others: Mapping[str, str]) -> dict[str, Any]:
    """Merge a profile into the one that it extends; its keys and tables replace those with the same name."""
    base = tables.get("extends")
    if not isinstance(base, str):
        return tables
    if base not in others:
        near = difflib.get_close_matches(base, others, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(sorted(others)) or 'none'}."
        raise ConfigurationError(f"{source}: extends: unknown profile {base!r}; {hint}")
    return {**_extended(tomllib.loads(others[base]), base, others), **tables}


_EXPECTED = {**EXPECTED, "dict_type": "must be a table", "model_type": "must be a table"}


def _explain(place: Sequence[str | int], problem: str, text: str) -> str:
    path = [str(part) for part in place]
    number = _line_of(path, text)
    location = f"line {number}: " * bool(number) + f"{'.'.join(path)}: " * bool(path)
    if problem == _EXPECTED["extra_forbidden"]:
        near = difflib.get_close_matches(path[-1], _keys_beside(path), n=1)
        problem += f"; did you mean {near[0]!r}?" if near else ""
    return location + problem


def _line_of(path: list[str], text: str) -> int:
    """Return the line of a mistake: the line of the key, else that of its table; 0 if neither is in the file."""
    table: list[str] = []
    nearest = 0
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*\[+([^\]]+)\]", line):
            table = [part.strip(" \"'") for part in header[1].split(".")]
            if table == path[: len(table)]:
                nearest = number
        elif (key := re.match(r"\s*([\w-]+)\s*=", line)) and [*table, key[1]] == path[: len(table) + 1]:
            return number
    return nearest


_TABLES: dict[str, type[Table]] = {
    "detect": DetectTable,
    "lookup": LookupTable,
    "pick": PickTable,
    "agent": AgentTable,
    "list": ListTable,
    "found": FoundTable,
    "interrupt": InterruptTable,
    "status": StatusTable,
    "resume": ResumeTable,
    "run": RunTable,
    "wait": WaitTable,
    "stream": StreamTable,
    "error": ErrorTable,
}


def _keys_beside(path: list[str]) -> list[str]:
    """Return the valid keys of the table that contains a mistake."""
    table = Profile if len(path) == 1 else _TABLES[path[0]]
    return sorted(field.alias or name for name, field in table.model_fields.items())
