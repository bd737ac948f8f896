"""JSON Patch: what its operations make of a document, and that a patch that fails changes nothing."""

from __future__ import annotations

from typing import Any

import pytest

from ap_resume_shim.core.json_patch import patched


@pytest.mark.parametrize(
    ("operation", "after"),
    [
        ({"op": "add", "path": "/a/-", "value": 3}, {"a": [1, 2, 3]}),
        ({"op": "add", "path": "/a/0", "value": 0}, {"a": [0, 1, 2]}),
        ({"op": "add", "path": "/a/2", "value": 3}, {"a": [1, 2, 3]}),
        ({"op": "add", "path": "/b~1c", "value": None}, {"a": [1, 2], "b/c": None}),
        ({"op": "add", "path": "", "value": 5}, 5),
        ({"op": "replace", "path": "/a/1", "value": 5}, {"a": [1, 5]}),
        ({"op": "replace", "path": "", "value": {}}, {}),
        ({"op": "remove", "path": "/a"}, {}),
        ({"op": "move", "from": "/a", "path": "/b"}, {"b": [1, 2]}),
        ({"op": "move", "from": "/a/0", "path": "/a/1"}, {"a": [2, 1]}),
        ({"op": "copy", "from": "/a/0", "path": "/b"}, {"a": [1, 2], "b": 1}),
        ({"op": "test", "path": "/a/0", "value": 1.0}, {"a": [1, 2]}),
    ],
)
def test_an_operation_changes_a_copy(operation: dict[str, Any], after: Any) -> None:
    before = {"a": [1, 2]}
    assert patched(before, [operation]) == after
    assert before == {"a": [1, 2]}


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "test", "path": "/a/0", "value": 2},
        {"op": "test", "path": "/a/0", "value": True},
        {"op": "remove", "path": "/x"},
        {"op": "remove", "path": "/a/2"},
        {"op": "replace", "path": "/a/-", "value": 5},
        {"op": "add", "path": "/a/3", "value": 5},
        {"op": "add", "path": "/a/-1", "value": 5},
        {"op": "add", "path": "/a/01", "value": 5},
        {"op": "add", "path": "/a/0/b", "value": 5},
        {"op": "add", "path": "/x/y", "value": 5},
        {"op": "add", "path": "a", "value": 5},
        {"op": "add", "path": "/b"},
        {"op": "move", "from": "/a", "path": "/a/0"},
        {"op": "odd", "path": "/a"},
        "add",
    ],
)
def test_a_patch_of_which_an_operation_fails_changes_nothing(operation: Any) -> None:
    before = {"a": [1, 2]}
    assert patched(before, [{"op": "add", "path": "/b", "value": 1}, operation]) is before


@pytest.mark.parametrize("patch", [None, 5, [None]])
def test_what_is_no_patch_changes_nothing(patch: Any) -> None:
    assert patched(1, patch) == 1
