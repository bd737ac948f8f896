"""The draft's messages, from those in a server's state."""

from __future__ import annotations

from typing import Any

import pytest

from ap_resume_shim.core.chat_messages import as_messages
from tests import draft

LANGCHAIN: dict[str, Any] = {"content": "hi", "name": None, "id": "m1", "tool_calls": [], "usage_metadata": None}


@pytest.mark.parametrize(
    ("kind", "role"),
    [
        ("human", "human"),
        ("ai", "ai"),
        ("system", "system"),
        ("tool", "tool"),
        ("function", "function"),
        ("AIMessageChunk", "ai"),
        ("HumanMessageChunk", "human"),
    ],
)
def test_langchains_type_becomes_the_role(kind: str, role: str) -> None:
    assert as_messages([{**LANGCHAIN, "type": kind}]) == [{**LANGCHAIN, "role": role}]


def test_a_message_with_a_role_keeps_all_that_it_has() -> None:
    said = {"role": "critic", "type": "chat", "content": [{"type": "image", "url": "x"}], "extra": None}
    assert as_messages([said]) == [said]


def test_the_drafts_own_fields_are_left_out_where_they_are_null() -> None:
    assert as_messages([{"role": "ai", "content": "", "id": None, "metadata": None}]) == [{"role": "ai", "content": ""}]
    assert as_messages([{"role": None, "type": "ai", "content": ""}]) == [{"role": "ai", "content": ""}]


def test_plain_text_among_blocks_becomes_a_block() -> None:
    messages = as_messages([{"type": "ai", "content": ["a", {"type": "tool_use", "id": "t"}]}])
    assert messages is not None
    assert messages[0]["content"] == [{"type": "text", "text": "a"}, {"type": "tool_use", "id": "t"}]
    draft.check("Message", messages[0])


@pytest.mark.parametrize(
    "value",
    [
        None,
        "hi",
        {"role": "ai", "content": "hi"},
        ["hi"],
        [7],
        [{"a": 1}],
        [{"role": "ai"}],
        [{"role": "ai", "content": None}],
        [{"role": "ai", "content": 7}],
        [{"role": 7, "content": "hi"}],
        [{"type": "note", "content": "hi"}],
        [{"type": ["ai"], "content": "hi"}],
        [{"role": "ai", "content": "hi", "id": 7}],
        [{"role": "ai", "content": "hi", "metadata": "x"}],
        [{"role": "ai", "content": [7]}],
        [{"role": "ai", "content": [{"text": "a block without a type"}]}],
        [{"role": "ai", "content": [{"type": "text", "text": "a", "metadata": 7}]}],
        [{"role": "ai", "content": "hi"}, {"a": 1}],
    ],
)
def test_anything_else_is_no_list_of_messages(value: Any) -> None:
    assert as_messages(value) is None
