# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = [
#   "acp-sdk==1.0.3",
#   "uvicorn==0.34.3",  # with newer ones acp-sdk cannot be imported
# ]
# ///
"""acp-sdk: a run that asks, and clicks on its answer."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

sys.path.pop(0)  # the programs beside this one, some of which have names of packages
sys.path.insert(0, str(Path(__file__).parents[1]))

from acp_sdk.client import Client
from acp_sdk.models import Message, MessageAwaitResume, MessagePart
from serve import clicks, serve

TYPED = {"content-type": "application/json"}
"""The client sets no media type, and the server refuses its requests without one."""


def said(text: str) -> Message:
    return Message(role="user", parts=[MessagePart(content=text)])


async def answer(url: str, ref: str, scenario: str, method: str, count: int, pause: float) -> dict[str, Any]:
    """`method`: `run_resume_sync`, `run_resume_async` or `run_resume_stream`."""
    async with Client(base_url=url, headers=TYPED) as client, client.session() as session:
        run = await session.run_sync(said(json.dumps({"ref": ref, "secs": 0})), agent=scenario)
        resume = MessageAwaitResume(message=said("yes"))

        async def click() -> None:
            answered = getattr(session, method)(resume, run_id=run.run_id)
            if method == "run_resume_stream":
                async for _ in answered:
                    pass
            else:
                await answered

        return {"outcomes": await clicks(count, pause, click)}


serve(answer=answer)
