"""The vendor resumes of a profile: requests of the form that the profile's own resume has."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ap_resume_shim.core.json_pointer import MISSING, parts, walk
from ap_resume_shim.core.protocol import Mode
from ap_resume_shim.core.vendor_resume import ClientRequest, Convention, VendorResume
from ap_resume_shim.profiles.template import names_in


class ProfileConvention(Convention):
    """A request on one of the profile's `[resume]` routes.

    If the path names the run, every request is an answer. If not, runs start there, too, and a request is an answer if
    it has a value at the profile's `answer`.
    """

    def __init__(self, name: str, lines: Mapping[Mode, str], answer: str, body: Any) -> None:
        """`lines` are request lines by mode, `answer` a JSON pointer, and `body` the profile's template."""
        self.name = name
        self._routes = {
            mode: (line.partition(" ")[0], _pattern(line.partition(" ")[2])) for mode, line in lines.items()
        }
        self._matching = {
            method: re.compile(
                "|".join(_NAMES.sub("", each.pattern) for own, each in self._routes.values() if own == method)
            )
            for method, _ in self._routes.values()
        }
        """One pattern for all routes of a method, since every request is compared with it."""
        self.methods = frozenset(self._matching)
        self._answer = parts(answer)
        self._thread = next(_places("$thread_id", body), None)
        self._always = all("run_id" in names_in(line) for line in lines.values())

    def matches(self, method: str, path: str) -> bool:
        """Return True for a route of the profile's `[resume]`."""
        pattern = self._matching.get(method)
        return pattern is not None and pattern.fullmatch(path) is not None

    def read(self, request: ClientRequest) -> VendorResume | None:
        """Return the answer, from the path and the body."""
        for mode, (method, pattern) in self._routes.items():
            found = pattern.fullmatch(request.path) if request.method == method else None
            if found is None:
                continue
            names, answer = found.groupdict(), walk(request.json, self._answer)
            if (answer is MISSING and not self._always) or names.get("run_id") in _WORDS:
                return None
            thread_id = names.get("thread_id")
            if thread_id is None and self._thread is not None:
                value = walk(request.json, self._thread)
                thread_id = value if isinstance(value, str) else None
            if thread_id is None and "run_id" not in names:
                return None
            fields = {} if answer is MISSING else {"input": answer}
            return VendorResume(self, request, thread_id, mode, fields, run_id=names.get("run_id"))
        return None


_WORDS = ("wait", "stream", "search", "batch", "crons")
"""Segments for other operations in the place of a run's id, as in `POST /runs/search`."""


_NAMES = re.compile(r"\?P<\w+>")
"""The names of the groups in a pattern."""


def _pattern(path: str) -> re.Pattern[str]:
    """Return the pattern of a path template: each name is one segment."""
    literal_or_name = re.split(r"\{(\w+)\}", path)
    return re.compile(
        "".join(f"(?P<{part}>[^/]+)" if at % 2 else re.escape(part) for at, part in enumerate(literal_or_name))
    )


def _places(value: str, template: Any, path: tuple[str, ...] = ()) -> Any:
    """Yield the keys that lead to a value in a JSON template."""
    if template == value:
        yield list(path)
    elif isinstance(template, dict):
        for key, item in template.items():
            yield from _places(value, item, (*path, key))
