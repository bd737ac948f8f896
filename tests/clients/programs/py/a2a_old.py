# /// script
# requires-python = ">=3.11"
# dependencies = ["a2a-sdk[http-server]==0.3.26"]
# ///
"""The last a2a-sdk of version 0.3: a task that asks, and clicks on its answer."""

from __future__ import annotations

import json
import sys
import uuid
from pathlib import Path
from typing import Any

sys.path.pop(0)  # the programs beside this one, some of which have names of packages
sys.path.insert(0, str(Path(__file__).parents[1]))

import httpx
from a2a.client import A2ACardResolver, ClientConfig, ClientFactory
from a2a.types import Message, Part, Role, TextPart
from serve import clicks, serve


def said(text: str, **ids: str) -> Message:
    return Message(message_id=str(uuid.uuid4()), role=Role.user, parts=[Part(root=TextPart(text=text))], **ids)


async def answer(url: str, ref: str, scenario: str, streaming: bool, count: int, pause: float) -> dict[str, Any]:
    """`url` is the place of the card."""
    async with httpx.AsyncClient(timeout=60) as connection:
        card = await A2ACardResolver(connection, url).get_agent_card()
        client = ClientFactory(ClientConfig(streaming=streaming, httpx_client=connection)).create(card)
        first = json.dumps({"scenario": scenario, "ref": ref, "secs": 0})
        task = [task async for task, _ in client.send_message(said(first))][-1]

        async def click() -> None:
            async for _ in client.send_message(said("yes", task_id=task.id, context_id=task.context_id)):
                pass

        return {"outcomes": await clicks(count, pause, click)}


serve(answer=answer)
