# /// script
# requires-python = ">=3.11"
# dependencies = ["a2a-sdk[http-server]==1.3.0"]
# ///
"""The current a2a-sdk: a task that asks, and clicks on its answer."""

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
from a2a.types import Message, Part, Role, SendMessageRequest
from serve import clicks, serve


def said(text: str, **ids: str) -> SendMessageRequest:
    message = Message(message_id=str(uuid.uuid4()), role=Role.ROLE_USER, parts=[Part(text=text)], **ids)
    return SendMessageRequest(message=message)


async def answer(
    url: str, ref: str, scenario: str, binding: str, streaming: bool, count: int, pause: float
) -> dict[str, Any]:
    """`url` is the place of the card; `binding` chooses one that it offers, such as `JSONRPC 1.0`."""
    async with httpx.AsyncClient(timeout=60) as connection:
        card = await A2ACardResolver(connection, url).get_agent_card()
        offered = list(card.supported_interfaces)
        del card.supported_interfaces[:]
        for interface in offered:
            if f"{interface.protocol_binding} {interface.protocol_version}".startswith(binding):
                card.supported_interfaces.append(interface)
        bindings = [binding.partition(" ")[0]]
        config = ClientConfig(streaming=streaming, httpx_client=connection, supported_protocol_bindings=bindings)
        client = ClientFactory(config).create(card)
        first = json.dumps({"scenario": scenario, "ref": ref, "secs": 0})
        events = [event async for event in client.send_message(said(first))]
        named = getattr(events[-1], events[-1].WhichOneof("payload"))
        task = {"task_id": getattr(named, "task_id", "") or named.id, "context_id": named.context_id}

        async def click() -> None:
            async for _ in client.send_message(said("yes", **task)):
                pass

        return {"outcomes": await clicks(count, pause, click)}


serve(answer=answer)
