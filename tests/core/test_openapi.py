"""The OpenAPI document of the routes is the draft's but for the listed deviations, and merges into a backend's file."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import given
from hypothesis import strategies as st

from ap_resume_shim.core.idempotency import read_key
from ap_resume_shim.core.openapi import OpenApiMerge, merge, openapi
from tests import draft
from tests.core.test_errors import CLOSED_LIST
from tests.draft.deviations import ABSENT, PRESENT, deviations

PAGE = Path(__file__).parents[2] / "docs/reference/openapi.md"
ROUTES = ["/runs/resume", "/runs/resume/wait", "/runs/resume/stream"]
OK = {"200": {"description": "OK"}}
Json = dict[str, Any]


def listed() -> dict[str, tuple[Any, Any]]:
    """The deviations in the table of the page."""
    found: dict[str, tuple[Any, Any]] = {}
    for line in PAGE.read_text("utf-8").splitlines():
        if line.startswith("| `"):
            places, *cells, _ = line.strip("| ").split(" | ")
            old, new = (cell if cell in (ABSENT, PRESENT) else json.loads(cell.strip("`")) for cell in cells)
            found |= dict.fromkeys(re.findall("`([^`]+)`", places), (old, new))
    return found


def file(*paths: str, **rest: Any) -> Json:
    """A backend's file with an operation at each path."""
    items = {path: {"get": {"operationId": f"get{path}", "responses": OK}} for path in paths}
    return {"openapi": "3.1.0", "info": {"title": "backend", "version": "1"}, "paths": items, **rest}


def merged(value: Json, prefix: str = "", **options: Any) -> Json:
    """The merged file; the backend's parts must be unchanged, and it must be valid."""
    before = copy.deepcopy(value)
    made = merge(value, prefix, **options)
    assert made is not None
    assert value == before
    assert {path: made["paths"][path] for path in before.get("paths", {})} == before.get("paths", {})
    schemas = before.get("components", {}).get("schemas", {})
    assert {name: made["components"]["schemas"][name] for name in schemas} == schemas
    schemathesis.openapi.from_dict(made).validate()
    return made


def references(value: Any) -> set[str]:
    if isinstance(value, list):
        return {name for item in value for name in references(item)}
    if not isinstance(value, dict):
        return set()
    own = {value["$ref"].rpartition("/")[2]} if "$ref" in value else set()
    return own | {name for item in value.values() for name in references(item)}


def test_the_document_is_the_drafts_but_for_the_deviations_that_the_page_lists() -> None:
    assert deviations(draft.DOCUMENT, openapi()) == listed()


@pytest.mark.parametrize("version", ["3.0.3", "3.1.0"])
def test_the_document_is_valid_in_both_versions(version: str) -> None:
    schemathesis.openapi.from_dict({**openapi(), "openapi": version}).validate()


def test_the_document_has_no_word_that_the_two_versions_read_differently() -> None:
    text = json.dumps(openapi())
    for word in ("const", "nullable", "examples", "null", "exclusiveMinimum", "$defs", "JsonValue"):
        assert f'"{word}"' not in text
    assert references(openapi()) <= set(openapi()["components"]["schemas"])


@pytest.mark.parametrize("route", ROUTES)
def test_every_error_of_the_closed_list_is_described(route: str) -> None:
    responses = openapi()["paths"][route]["patch"]["responses"]
    described = {
        (code, int(status))
        for status in responses
        for code in re.findall("- `(.+?)`", responses[status]["description"])
    }
    assert described == CLOSED_LIST | {("unauthorized", 401), ("forbidden", 403), ("rate_limited", 429)}


def test_every_field_of_a_request_has_a_description() -> None:
    schemas = openapi()["components"]["schemas"]
    fields = {**schemas["RunResume"]["properties"], **schemas["RunResumeStream"]["allOf"][1]["properties"]}
    assert [name for name, field in fields.items() if not field.get("description")] == []


@given(st.from_regex(openapi()["paths"][ROUTES[0]]["patch"]["parameters"][1]["schema"]["pattern"], fullmatch=True))
def test_every_key_of_the_documented_form_is_accepted(key: str) -> None:
    assert len(key) > 255 or read_key([key])


def test_the_routes_and_schemas_are_added() -> None:
    made = merged(file("/threads", components={"schemas": {"Thread": {}}, "securitySchemes": {}}, tags=[]))
    assert list(made["paths"]) == ["/threads", *ROUTES]
    assert {*made["components"]["schemas"]} == {"Thread", *openapi()["components"]["schemas"]}
    assert (made["components"]["securitySchemes"], made["tags"], made["info"]["title"]) == ({}, [], "backend")


@pytest.mark.parametrize("version", ["3.0.0", "3.0.3", "3.1.0", "3.1.1", "3.2.0"])
def test_files_of_every_version_3_are_merged(version: str) -> None:
    made = merge({**file("/threads"), "openapi": version})
    assert made is not None
    assert made["openapi"] == version


def test_a_file_without_paths_and_components_gets_both() -> None:
    made = merged({"openapi": "3.1.0", "info": {"title": "t", "version": "1"}, "components": {}})
    assert list(made["paths"]) == ROUTES


def test_names_that_the_backend_uses_are_left_to_it() -> None:
    theirs = {"Run": {"type": "integer"}, "Message": {"type": "null"}, "AgentProtocolRun": {"type": "string"}}
    operation = {"get": {"operationId": "resume_run", "responses": OK}}
    made = merged({**file(), "paths": {"/x": operation}, "components": {"schemas": theirs}})
    schemas = made["components"]["schemas"]
    ours = made["paths"]["/runs/resume"]["patch"]
    assert ours["operationId"] == "agent_protocol_resume_run"
    run = ours["responses"]["200"]["content"]["application/json"]["schema"]
    assert run == {"$ref": "#/components/schemas/AgentProtocolAgentProtocolRun"}
    assert schemas["AgentProtocolAgentProtocolRun"] == openapi()["components"]["schemas"]["Run"]
    assert schemas["RunWaitResponse"]["properties"]["run"] == run
    assert schemas["RunResume"]["properties"]["messages"]["items"]["$ref"].endswith("/AgentProtocolMessage")
    assert references(made) <= set(schemas)
    ids = [operation["operationId"] for item in made["paths"].values() for operation in item.values()]
    assert len(set(ids)) == len(ids)


def test_paths_that_the_file_has_stay_as_they_are() -> None:
    made = merged(file("/runs/resume", "/runs/resume/wait"))
    assert list(made["paths"]) == ROUTES
    assert merge(file(*ROUTES)) is None
    assert merge(made) is None


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        "text",
        {},
        {"swagger": "2.0", "paths": {}},
        {**file(), "openapi": "2.0"},
        {**file(), "openapi": "4.0.0"},
        {**file(), "paths": []},
        {**file(), "components": None},
        {**file(), "components": {"schemas": []}},
    ],
)
def test_anything_else_is_left_alone(value: Any) -> None:
    assert merge(value) is None


def test_odd_parts_of_a_file_do_no_harm() -> None:
    paths: Json = {"/a": None, "/b": {"get": None, "parameters": [], "summary": "x"}, "x-y": 1}
    made = merge({**file(), "paths": paths, "servers": "none"})
    assert made is not None
    assert list(made["paths"]) == ["/a", "/b", "x-y", *ROUTES]


@pytest.mark.parametrize(
    ("value", "at_root", "stem"),
    [
        (file("/api/threads"), True, "/api"),
        (file("/api/threads"), False, "/api"),
        (file("/threads"), False, ""),
        (file("/threads", servers=[{"url": "/api"}]), False, ""),
        (file("/threads", servers=[{"url": "https://host/v1/api/"}]), True, ""),
        (file("/threads"), True, None),
        (file("/threads", servers=["none", {}]), True, None),
        (file("/apis/threads"), True, None),
    ],
)
def test_the_paths_of_the_routes_match_those_of_the_file(value: Json, at_root: bool, stem: str | None) -> None:
    edit = OpenApiMerge("/api")
    path = "/openapi.json" if at_root else "/api/openapi.json"
    made = edit.apply(path, value, "/api")
    assert edit.covers(path) and not edit.covers("/apis/openapi.json")
    if stem is None:
        assert made is None
    else:
        assert made is not None
        assert list(made["paths"])[1:] == [stem + route for route in ROUTES]
