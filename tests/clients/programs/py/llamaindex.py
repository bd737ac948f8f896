# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = ["llama-agents-client==0.4.1"]
# ///
"""LlamaIndex's client: a workflow that asks, and clicks on its answer."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.pop(0)  # the programs beside this one, some of which have names of packages
sys.path.insert(0, str(Path(__file__).parents[1]))

from llama_agents.client import WorkflowClient
from serve import clicks, serve


async def answer(url: str, ref: str, scenario: str, count: int, pause: float) -> dict[str, Any]:
    client = WorkflowClient(base_url=url)
    started = await client.run_workflow_nowait(scenario, start_event={"ref": ref, "secs": 0})
    async for event in client.get_workflow_events(started.handler_id, include_internal_events=True):
        if event.type == "WorkflowIdleEvent":  # the run waits
            break

    async def click() -> None:
        await client.send_event(started.handler_id, {"type": "Answer", "value": {"response": "yes"}})

    return {"outcomes": await clicks(count, pause, click)}


serve(answer=answer)
