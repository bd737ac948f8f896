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

sys.path[0] = str(Path(__file__).parents[1])

import httpx
from a2a.client import ClientConfig, ClientFactory
from a2a.types import Message, Part, Role, SendMessageRequest, Task
from serve import clicks, serve


def said(text: str, **ids: str) -> SendMessageRequest:
    message = Message(message_id=str(uuid.uuid4()), role=Role.ROLE_USER, parts=[Part(text=text)], **ids)
    return SendMessageRequest(message=message)


async def answer(
    url: str, ref: str, scenario: str, binding: str, streaming: bool, count: int, pause: float
) -> dict[str, Any]:
    """`url` is the address of the card, which names the shim; `binding` is `JSONRPC 1.0`, for example."""
    protocol, _, version = binding.partition(" ")
    async with httpx.AsyncClient(timeout=60) as connection:
        config = ClientConfig(streaming=streaming, httpx_client=connection, supported_protocol_bindings=[protocol])
        factory = ClientFactory(config)
        from a2a.client import A2ACardResolver

        card = await A2ACardResolver(connection, url).get_agent_card()
        for interface in card.supported_interfaces:
            place = httpx.URL(interface.url)
            interface.url = str(httpx.URL(url).join(place.path))
            print(interface)
        chosen = [i for i in card.supported_interfaces if i.protocol_version.startswith(version)]
        del card.supported_interfaces[:]
        card.supported_interfaces.extend(chosen)
        client = factory.create(card)
        task = await last_task(client, said(json.dumps({"scenario": scenario, "ref": ref, "secs": 0})))

        async def click() -> Any:
            answered = said("yes", task_id=task.id, context_id=task.context_id)
            return [event.WhichOneof("payload") async for event in client.send_message(answered)]

        return {"thread": task.context_id, "outcomes": await clicks(count, pause, click)}


async def last_task(client: Any, request: SendMessageRequest) -> Task:
    ids = {}
    async for event in client.send_message(request):
        kind = event.WhichOneof("payload")
        found = getattr(event, kind)
        ids = {"id": getattr(found, "task_id", None) or found.id, "context_id": found.context_id}
    return Task(**ids)


serve(answer=answer)
