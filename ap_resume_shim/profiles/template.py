"""The three constructs of a profile: `{name}` in a path, `$name` for a whole value, and JSON pointers.

There are no expressions, conditions or loops: a backend that needs them has a dialect in Python.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ap_resume_shim.core.http import segment
from ap_resume_shim.core.json_pointer import MISSING

_NAME = re.compile(r"\{(\w+)\}")


def names_in(path: str) -> set[str]:
    """Return the names in a path."""
    return set(_NAME.findall(path))


def fill_path(path: str, names: Mapping[str, Any]) -> str:
    """Fill values into a path, each escaped as one segment; a profile cannot turn that off."""
    return _NAME.sub(lambda match: segment(str(names[match[1]])), path)


def fill(template: Any, names: Mapping[str, Any]) -> Any:
    """Fill whole values into a JSON template; a member whose value is missing is left out."""
    if isinstance(template, str) and template.startswith("$"):
        return names.get(template[1:], MISSING)
    if isinstance(template, dict):
        filled = {key: fill(item, names) for key, item in template.items()}
        return {key: item for key, item in filled.items() if item is not MISSING}
    if isinstance(template, list):
        return [item for item in (fill(item, names) for item in template) if item is not MISSING]
    return template
