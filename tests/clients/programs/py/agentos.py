# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = [
#   "agno[os]==3.1.10",
# ]
# ///
"""Agno's own client: an agent, a team or a workflow that asks, and clicks on its answer."""

from __future__ import annotations

import json
import sys
import uuid
from pathlib import Path
from typing import Any

sys.path[0] = str(Path(__file__).parents[1])

from agno.client import AgentOSClient
from serve import clicks, serve


async def answer(url: str, ref: str, scenario: str, method: str, count: int, pause: float) -> dict[str, Any]:
    """`method`: `continue_agent_run` or `continue_agent_run_stream`."""
    client, session = AgentOSClient(base_url=url), str(uuid.uuid4())
    message = json.dumps({"scenario": scenario, "ref": ref, "secs": 0})
    run = await client.run_agent("helper", message, session_id=session)
    tools = run.tools or []
    for tool in tools:
        tool.confirmed = True

    async def click() -> Any:
        given = {"agent_id": "helper", "run_id": run.run_id, "tools": tools, "session_id": session}
        if method.endswith("_stream"):
            return [type(event).__name__ async for event in client.continue_agent_run_stream(**given)]
        return str((await client.continue_agent_run(**given)).status)

    return {"thread": session, "outcomes": await clicks(count, pause, click)}


serve(answer=answer)
