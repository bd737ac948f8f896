"""Paths of ASGI scopes, and lists of names."""

from __future__ import annotations

import pytest

from ap_resume_shim.core.asgi import as_names, path_below, shown_path


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


@pytest.mark.parametrize(
    ("scope", "shown"),
    [
        ({"path": "/a b", "raw_path": b"/a%20b"}, "/a%20b"),
        ({"path": "/a", "raw_path": b"/a?token=secret"}, "/a"),
        ({"path": "/a b"}, "/a%20b"),
        ({"path": "/a b", "raw_path": None}, "/a%20b"),
    ],
)
def test_a_log_has_the_path_as_the_client_sent_it_without_the_query(scope: dict[str, object], shown: str) -> None:
    assert shown_path(scope) == shown


def test_a_single_name_is_a_list_of_names_and_not_of_letters() -> None:
    assert as_names("x-user") == as_names(["x-user"]) == ("x-user",)
