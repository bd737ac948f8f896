"""Loading a profile from its file, with the place of every mistake; and the JSON schema of profiles."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

from ap_resume_shim.core.errors import ConfigurationError
from ap_resume_shim.profiles.schema import (
    AgentTable,
    DetectTable,
    ErrorTable,
    FoundTable,
    InterruptTable,
    LookupTable,
    PickTable,
    Profile,
    ResumeTable,
    RunTable,
    StatusTable,
    Table,
    WaitTable,
)


def profile_schema() -> dict[str, Any]:
    """The JSON schema of profiles, for editors; what it cannot say is said when a profile is loaded."""
    schema = Profile.model_json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "ap-resume-shim profile"}


def load_profile(text: str, *, source: str = "profile", others: Mapping[str, str] = MappingProxyType({})) -> Profile:
    """Read a profile. `others` are the texts of the profiles that it may extend, by name.

    Raises `ConfigurationError` with the place of every mistake, and the nearest valid key.
    """
    try:
        return Profile.model_validate(_extended(tomllib.loads(text), source, others))
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{source}: {error}") from None
    except ValidationError as error:
        lines = [f"{source}: {_explain(item, text)}" for item in error.errors(include_url=False)]
        raise ConfigurationError("\n".join(lines)) from None


def _extended(tables: dict[str, Any], source: str, others: Mapping[str, str]) -> dict[str, Any]:
    """A profile with the keys and tables of the one that it extends; its own ones replace those of the same name."""
    base = tables.get("extends")
    if not isinstance(base, str):
        return tables
    if base not in others:
        near = difflib.get_close_matches(base, others, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(sorted(others)) or 'none'}."
        raise ConfigurationError(f"{source}: extends: unknown profile {base!r}; {hint}")
    return {**_extended(tomllib.loads(others[base]), base, others), **tables}


def _explain(item: Any, text: str) -> str:
    path = [str(part) for part in item["loc"]]
    number = _line_of(path, text)
    where = f"line {number}: " * bool(number) + f"{'.'.join(path)}: " * bool(path)
    if item["type"] == "extra_forbidden":
        near = difflib.get_close_matches(path[-1], _keys_beside(path), n=1)
        return f"{where}unknown key" + (f"; did you mean {near[0]!r}?" if near else "")
    return f"{where}{item['msg'].removeprefix('Value error, ')}"


def _line_of(path: list[str], text: str) -> int:
    """The line that a mistake is in: the key's own, else its table's; 0 where neither is there."""
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
    "found": FoundTable,
    "interrupt": InterruptTable,
    "status": StatusTable,
    "resume": ResumeTable,
    "run": RunTable,
    "wait": WaitTable,
    "error": ErrorTable,
}


def _keys_beside(path: list[str]) -> list[str]:
    """The keys of the table that a mistake is in."""
    table = Profile if len(path) == 1 else _TABLES[path[0]]
    return sorted(field.alias or name for name, field in table.model_fields.items())
