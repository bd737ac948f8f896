"""Paths of ASGI scopes, and lists of names."""

from __future__ import annotations

import pytest

from ap_resume_shim.core.asgi import as_app, as_names, as_prefix, path_below, shown_path
from ap_resume_shim.core.errors import ConfigurationError


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


@pytest.mark.parametrize("prefix", ["api", "/api/", "/", "api/"])
def test_a_prefix_that_matches_no_route_is_refused(prefix: str) -> None:
    with pytest.raises(ConfigurationError, match="such as /api"):
        as_prefix(prefix)


@pytest.mark.parametrize("prefix", ["", "/api", "/api/v1"])
def test_a_prefix_that_routes_can_begin_with_is_unchanged(prefix: str) -> None:
    assert as_prefix(prefix) == prefix


def test_an_address_in_place_of_an_app_is_refused_with_the_app_for_it() -> None:
    with pytest.raises(ConfigurationError, match=r"ReverseProxy\('http://127.0.0.1:2024'\)"):
        as_app("http://127.0.0.1:2024")
    assert as_app(None) is None
