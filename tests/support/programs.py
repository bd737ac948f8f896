"""Programs that some tests need, and that need not be installed."""

from __future__ import annotations

import os
import shutil

import pytest


def find(*names: str, path: str | None = None) -> str | None:
    """Return the path of the first of these programs that is installed; None if none is."""
    return next(filter(None, (shutil.which(name, path=path) for name in names)), None)


def need(*names: str, required: str, path: str | None = None) -> str:
    """Return the path of the first of these programs that is installed; the first name is also that of its package.

    If there is none, skip the test, or fail it if the environment variable `required` has the value `required`.
    """
    found = find(*names, path=path)
    if found is None:
        reason = f"{names[0]} is not installed (apt-get install {names[0]})"
        if os.environ.get(required) == "required":
            pytest.fail(reason)
        pytest.skip(reason)
    return found
