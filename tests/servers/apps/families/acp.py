"""Agents of an ACP server, one for each scenario.

A test starts one with a message whose first part is JSON text, `{"ref": ..., "secs": ...}`. Answers are read as an
ordinary agent reads them: parts carry strings, and `content_type` says which of these are JSON.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any

from acp_sdk.models import Message, MessageAwaitRequest, MessageAwaitResume, MessagePart
from acp_sdk.server import Context, RunYield, RunYieldResume, agent, create_app

from tests.servers.apps.families.witness import note

Steps = AsyncGenerator[RunYield, RunYieldResume]


class Told:
    """What the test said at the start."""

    def __init__(self, messages: list[Message]) -> None:
        said = json.loads(messages[0].parts[0].content or "{}")
        self.ref: str = said["ref"]
        self.secs = float(said.get("secs", 0))

    def question(self, text: str) -> MessageAwaitRequest:
        """A question. It is asked when it is yielded."""
        note(self.ref, "asked", text)
        return MessageAwaitRequest(message=Message(role="agent", parts=[MessagePart(content=text)]))

    def hear(self, resume: MessageAwaitResume) -> Any:
        """The answer, as it arrived."""
        parts = [read(part) for part in resume.message.parts]
        value = parts[0] if len(parts) == 1 else parts
        note(self.ref, "got", value)
        return value

    def end(self, value: Any) -> MessagePart:
        """The last thing that the agent says."""
        note(self.ref, "ended", value)
        return MessagePart(content_type="application/json", content=json.dumps(value))


def read(part: MessagePart) -> Any:
    """The value of a part."""
    return json.loads(part.content or "") if part.content_type == "application/json" else part.content


@agent()
async def ask(messages: list[Message], context: Context) -> Steps:
    """Asks one question."""
    told = Told(messages)
    yield "thinking"
    answer = told.hear((yield told.question("approve?")))
    yield told.end(answer)


@agent()
async def two(messages: list[Message], context: Context) -> Steps:
    """Asks, then asks again."""
    told = Told(messages)
    first = told.hear((yield told.question("first?")))
    await asyncio.sleep(told.secs)
    second = told.hear((yield told.question("second?")))
    yield told.end([first, second])


@agent()
async def slow(messages: list[Message], context: Context) -> Steps:
    """Asks nothing, and takes its time."""
    told = Told(messages)
    await asyncio.sleep(told.secs)
    yield told.end("slept")


@agent()
async def slowask(messages: list[Message], context: Context) -> Steps:
    """Takes its time after the answer."""
    told = Told(messages)
    answer = told.hear((yield told.question("approve?")))
    await asyncio.sleep(told.secs)
    yield told.end(answer)


@agent()
async def boom(messages: list[Message], context: Context) -> Steps:
    """Fails after the answer."""
    told = Told(messages)
    told.hear((yield told.question("approve?")))
    note(told.ref, "failed")
    raise RuntimeError("boom")


app = create_app(ask, two, slow, slowask, boom)
