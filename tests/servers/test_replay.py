"""The app that replays AGNTCY's workflow server answers every recorded request as the server itself did."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import httpx

from tests.servers.apps.replay.agntcy import app

RECORDED = Path(__file__).parent / "apps/replay/agntcy.json"
UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}")


def test_every_recorded_exchange() -> None:
    asyncio.run(_replay())


async def _replay() -> None:
    ids: dict[str, str] = {}
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://replay") as client:
        for exchange in json.loads(RECORDED.read_text().replace('"slow": 2.0', '"slow": 0.2')):
            request, recorded = exchange["request"], exchange["response"]
            body = None if request["json"] is None else json.loads(_renamed(json.dumps(request["json"]), ids))
            answer = await client.request(request["method"], _renamed(request["path"], ids), json=body)
            told = answer.json() if isinstance(recorded["body"], dict | list) else answer.text
            assert (answer.status_code, answer.headers.get("content-type")) == (recorded["status"], recorded["type"])
            _learn(recorded["body"], told, ids)
            assert _plain(told) == _plain(json.loads(_renamed(json.dumps(recorded["body"]), ids))), exchange["name"]


def _renamed(text: str, ids: dict[str, str]) -> str:
    """With the ids of this app instead of the recorded ones."""
    return UUID.sub(lambda match: ids.get(match[0], match[0]), text)


def _learn(recorded: Any, told: Any, ids: dict[str, str]) -> None:
    """Which of the app's ids stands where a recorded one does."""
    for one, other in zip(UUID.findall(json.dumps(recorded)), UUID.findall(json.dumps(told)), strict=False):
        ids.setdefault(one, other)


def _plain(value: Any) -> Any:
    """Without the times."""
    return json.loads(TIME.sub("at some time", json.dumps(value, sort_keys=True)))
