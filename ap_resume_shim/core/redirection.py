"""Fields that could move a resume to another thread, branch or checkpoint than the one that was judged.

A field whose value is the thread's current place is harmless, and dropped; any other value is refused. So clients that
send their current checkpoint with each request (Studio is one) keep working, as long as it is the thread's head.
"""

from __future__ import annotations

from typing import Any, Generic

from ap_resume_shim.core.dialect import C, Dialect, Found
from ap_resume_shim.core.errors import ResumeError, UnsupportedField
from ap_resume_shim.core.protocol import Resume, RunResume


def stay(resume: Resume, found: Found[C], dialect: Dialect[C]) -> Resume:
    """Return the resume without the names of `dialect.redirecting`.

    Raises `UnsupportedField` for a value that points elsewhere.
    """
    if not dialect.redirecting:
        return resume
    given = resume.body.model_dump(exclude_unset=True)
    forwarded = {name: item for name, item in given.items() if name == "config" or name not in RunResume.model_fields}
    kept = _Redirection(resume, found, dialect).dropped(forwarded, ())
    if kept == forwarded:
        return resume
    own = {name: item for name, item in given.items() if name not in forwarded}
    return resume.with_body(RunResume.model_validate({**own, **kept}))


class _Redirection(Generic[C]):
    def __init__(self, resume: Resume, found: Found[C], dialect: Dialect[C]) -> None:
        self._resume, self._found, self._dialect = resume, found, dialect

    def dropped(self, value: Any, path: tuple[str, ...]) -> Any:
        """Return the value without harmless redirecting names, at any depth. Raises `UnsupportedField`."""
        if isinstance(value, list):
            return [self.dropped(item, path) for item in value]
        if not isinstance(value, dict):
            return value
        kept = {}
        for name, item in value.items():
            if not self._redirects(name):
                kept[name] = self.dropped(item, (*path, name))
            elif not self._leads_here(name, item):
                field = ".".join((*path, name))
                raise UnsupportedField(
                    f"`{field}` could move the resume away from the question that it answers: leave it out.",
                    {"field": field},
                )
        return kept

    def _redirects(self, name: str) -> bool:
        return any(
            name.startswith(known[:-1]) if known.endswith("*") else name == known for known in self._dialect.redirecting
        )

    def _leads_here(self, name: str, value: Any) -> bool:
        if name not in self._dialect.redirecting:  # matched by a pattern
            return False
        if value in (None, "", {}):
            return True
        return self._is_thread(value) if name == "thread_id" else value == self._found.place.get(name, _NOWHERE)

    def _is_thread(self, value: Any) -> bool:
        try:
            return isinstance(value, str) and self._key(value) == self._key(self._resume.thread_id)
        except ResumeError:
            return False

    def _key(self, thread_id: str) -> str:
        return self._dialect.thread_key(thread_id)


_NOWHERE = object()
