"""A change to a JSON document that the backend serves, before the client receives it."""

from __future__ import annotations

from typing import Any, Protocol


class DocumentEdit(Protocol):
    """Changes the documents at some paths."""

    setting: str
    """The setting that requests the change, for the log."""

    def covers(self, path: str) -> bool:
        """Return True for the path of such a document. The path includes the prefix of the backend's routes."""

    def apply(self, path: str, document: Any, mount: str) -> Any:
        """Return the changed document, a JSON value; None if there is nothing to change. Raises `Unedited`.

        `path` is the whole path of the document, and `mount` the part of it in front of the backend's routes (mount
        point and prefix); both are escaped.
        """


class Unedited(Exception):
    """The document has to stay unchanged, although a setting requests the change: the reason, a sentence for the log.

    It is logged once.
    """
