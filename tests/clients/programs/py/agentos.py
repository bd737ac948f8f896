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

sys.path.pop(0)  # the programs beside this one, some of which have names of packages
sys.path.insert(0, str(Path(__file__).parents[1]))

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

    async def click() -> None:
        given = {"agent_id": "helper", "run_id": run.run_id, "tools": tools, "session_id": session}
        if method == "continue_agent_run":
            await client.continue_agent_run(**given)
        else:
            async for _ in client.continue_agent_run_stream(**given):
                pass

    return {"outcomes": await clicks(count, pause, click)}


serve(answer=answer)
