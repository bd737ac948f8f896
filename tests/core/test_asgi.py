"""Paths of ASGI scopes."""

from __future__ import annotations

import pytest

from ap_resume_shim.core.asgi import path_below


@pytest.mark.parametrize(
    ("path", "prefix", "below"),
    [
        ("/runs", "", "/runs"),
        ("/runs\n", "", "/runs"),
        ("/api/runs", "/api", "/runs"),
        ("/runs", "/api", None),
        ("/apis/runs", "/api", None),
        ("/api", "/api", None),
    ],
)
def test_the_path_below_a_prefix_is_that_of_the_backends_routes(path: str, prefix: str, below: str | None) -> None:
    assert path_below({"path": path}, prefix) == below
    assert path_below({"path": f"/mounted{path}", "root_path": "/mounted"}, prefix) == below
