"""Fields that could move a resume away from the question that it answers."""

from __future__ import annotations

import re
from typing import Any

import pytest

from ap_resume_shim.core import strictjson
from ap_resume_shim.core.dialect import Dialect, Found
from ap_resume_shim.core.errors import InvalidRequest, UnsupportedField
from ap_resume_shim.core.protocol import Mode, Resume, parse
from ap_resume_shim.core.redirection import stay

HEAD: Found[None] = Found("interrupted", place={"checkpoint_id": "head", "checkpoint_map": {"": "head"}})


class Movable(Dialect[None]):
    redirecting = frozenset({"thread_id", "checkpoint_id", "checkpoint_ns", "checkpoint_map", "__pregel_*"})

    def thread_key(self, thread_id: str) -> str:
        if not re.fullmatch("[a-zA-Z]+", thread_id):
            raise InvalidRequest("letters only")
        return thread_id.lower()


def kept(dialect: Dialect[Any] | None = None, **fields: Any) -> Resume:
    asked = parse(strictjson.dumps({"thread_id": "t", "input": None, **fields}), Mode.WAIT, now="now")
    return stay(asked, HEAD, dialect or Movable())


def configured(**configurable: Any) -> Any:
    body = kept(config={"configurable": configurable, "tags": ["x"]}).body
    assert body.config is not None
    assert body.config.tags == ["x"]
    return body.config.configurable


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("thread_id", "t"),
        ("thread_id", "T"),
        ("thread_id", ""),
        ("checkpoint_id", "head"),
        ("checkpoint_id", None),
        ("checkpoint_ns", ""),
        ("checkpoint_map", {}),
        ("checkpoint_map", {"": "head"}),
    ],
)
def test_a_name_that_says_where_the_thread_is_anyway_is_dropped(name: str, value: Any) -> None:
    assert configured(**{name: value, "user": 1}) == {"user": 1}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("thread_id", "other"),
        ("thread_id", "no letters: 1"),
        ("thread_id", 1),
        ("checkpoint_id", "an earlier one"),
        ("checkpoint_ns", "inner:1"),
        ("checkpoint_map", {"": "an earlier one"}),
        ("__pregel_resuming", True),
    ],
)
@pytest.mark.parametrize("path", ["config.configurable", "config.configurable.deep.0", "config", "context", ""])
def test_a_name_that_leads_elsewhere_is_refused_wherever_it_stands(name: str, value: Any, path: str) -> None:
    if not path and name == "thread_id":
        return  # the field of the draft itself
    fields: Any = {name: value}
    for part in reversed(path.split(".") if path else []):
        fields = [fields] if part == "0" else {part: fields}
    with pytest.raises(UnsupportedField, match=name) as error:
        kept(**fields)
    field = error.value.metadata["field"]
    assert field == ".".join(filter(None, [path.replace(".0", ""), name]))


def test_what_the_client_says_beside_is_kept_as_it_was() -> None:
    fields: dict[str, Any] = {
        "input": {"checkpoint_id": "x"},
        "metadata": {"thread_id": "x"},
        "context": {"a": [1]},
        "agent_id": "a",
    }
    body = kept(**fields, config={"configurable": {"checkpoint_ns": ""}}).body
    assert body.model_dump(exclude_unset=True) == {"thread_id": "t", **fields, "config": {"configurable": {}}}


def test_a_resume_without_such_names_is_itself() -> None:
    asked = parse(b'{"thread_id": "t", "config": {"tags": ["x"]}}', Mode.WAIT, now="now")
    assert stay(asked, HEAD, Movable()) is asked


def test_a_backend_without_such_names_gets_them_as_they_are() -> None:
    body = kept(Dialect(), config={"configurable": {"checkpoint_id": "x"}}).body
    assert body.config is not None
    assert body.config.configurable == {"checkpoint_id": "x"}
