"""Converts an answer to the parts of an A2A message, and refuses values that A2A would change on the way."""

from __future__ import annotations

from typing import Any

from ap_resume_shim.backends.a2a.bindings import OldRpc
from ap_resume_shim.backends.a2a.card import Agent
from ap_resume_shim.core.errors import UnsupportedInput
from ap_resume_shim.core.json_values import DOUBLE, depth, integers_in
from ap_resume_shim.core.protocol import Resume

_DEPTH = 30
"""Maximum nesting depth of a value. Protocol Buffers allow 100 nested messages; an object takes three of them, and the
task around the value takes some as well."""


def contents_of(resume: Resume, value: Any) -> list[Any]:
    """Return the content of each part of the message: the answer, or the blocks of the client's own message.

    Raises `UnsupportedInput` unless `messages` is a single message with role `user`.
    """
    body = resume.body
    if body.has_input or body.messages is None:
        return [value]
    if len(body.messages) != 1 or body.messages[0].role != "user":
        raise UnsupportedInput("A task accepts one message of role `user` at a time: send that, or `input`.")
    content = body.messages[0].content
    if isinstance(content, str):
        return [content]
    return [block["text"] if block.get("type") == "text" else block for block in content]


def check(value: Any, agent: Agent) -> None:
    """Raise `UnsupportedInput` for a value that the agent would receive in another form."""
    old = isinstance(agent.binding, OldRpc)
    if old and not isinstance(value, str | dict):
        raise UnsupportedInput("A2A 0.3 carries only text and objects: wrap the answer in an object.")
    if agent.doubles and depth(value) > _DEPTH:
        raise UnsupportedInput(f"A2A carries values of up to {_DEPTH} levels: send a flatter one, or text.")
    for integer in integers_in(value):
        if agent.doubles or integer not in DOUBLE:
            raise UnsupportedInput(
                f"A2A has only doubles: the agent would receive {str(integer)[:40]} as another number. "
                "Send it as text, or with a fraction."
            )
