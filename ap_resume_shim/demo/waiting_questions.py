"""`ap-resume-shim demo --console`: an agent server with questions that wait for a person in a browser."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from anyio.from_thread import start_blocking_portal

from ap_resume_shim.demo import create_app
from ap_resume_shim.demo.double_click import client_for, serving

STARTS = {"deploy": {"release": "4.2"}, "mail": {}, "ask": {"topic": "the budget"}}
"""The agents that stop at a question, with their inputs."""


@contextmanager
def waiting_questions() -> Iterator[str]:
    """Serve the agent server in a thread during the block, with a question of each agent; yields its URL."""
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(_asking()) as url:
        yield url


@asynccontextmanager
async def _asking() -> AsyncIterator[str]:
    async with serving(create_app()) as url:
        async with client_for(url) as client:
            for agent_id, given in STARTS.items():
                body = {"agent_id": agent_id, "input": given}
                (await client.post("/runs/wait", json=body)).raise_for_status()
        yield url
