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
    fields = resume.body.model_dump(exclude_unset=True)
    forwarded = {name: item for name, item in fields.items() if name == "config" or name not in RunResume.model_fields}
    remaining = _Redirection(resume, found, dialect).without_redirecting(forwarded, ())
    if remaining == forwarded:
        return resume
    own = {name: item for name, item in fields.items() if name not in forwarded}
    return resume.with_body(RunResume.model_validate({**own, **remaining}))


class _Redirection(Generic[C]):
    def __init__(self, resume: Resume, found: Found[C], dialect: Dialect[C]) -> None:
        self._resume, self._found, self._dialect = resume, found, dialect

    def without_redirecting(self, value: Any, path: tuple[str, ...]) -> Any:
        """Return the value without harmless redirecting names, at any depth. Raises `UnsupportedField`."""
        if isinstance(value, list):
            return [self.without_redirecting(item, path) for item in value]
        if not isinstance(value, dict):
            return value
        remaining = {}
        for name, item in value.items():
            if not self._redirects(name):
                remaining[name] = self.without_redirecting(item, (*path, name))
            elif not self._is_current_place(name, item):
                field = ".".join((*path, name))
                raise UnsupportedField(
                    f"`{field}` could move the resume away from the question that it answers: leave it out.",
                    {"field": field},
                )
        return remaining

    def _redirects(self, name: str) -> bool:
        return any(
            name.startswith(known[:-1]) if known.endswith("*") else name == known for known in self._dialect.redirecting
        )

    def _is_current_place(self, name: str, value: Any) -> bool:
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
