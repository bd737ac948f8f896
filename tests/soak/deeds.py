"""What clients do, and the answers that they have to get."""

from __future__ import annotations

import asyncio
import json
from random import Random

from tests.soak.clients import PATIENCE, THREADS, Client, request, resume, vendor_resume

MIX = {
    "looks something up": 33,
    "creates": 12,
    "streams": 12,
    "waits": 4,
    "resumes": 14,
    "answers in its vendor's convention": 4,
    "is too late with a resume": 4,
    "resumes twice": 4,
    "uploads": 3,
    "downloads": 3,
    "pipelines": 3,
    "talks through a WebSocket": 2,
    "meets an error": 2,
}
"""What is done, and in how many of a hundred cases."""
SENT = (200, 409, 502)
"""What becomes of that which is sent once: 502 where the server closed a kept connection in the same moment."""


async def do(what: str, client: Client, dice: Random, number: int) -> None:
    """One thing that a client does, and the answer that it has to get."""
    thread = f"at-{number % THREADS}"
    if what == "looks something up":
        assert await _status(client, "GET", f"/threads/{thread}") == 200
    elif what == "creates":
        assert await _status(client, "POST", "/threads", json.dumps({"thread_id": thread}).encode()) in SENT
    elif what == "streams":
        assert await _status(client, "GET", "/events?n=20") == 200
    elif what == "waits":
        assert await _status(client, "GET", "/slow") == 200
    elif what == "resumes":
        status, content = await client.talk("PATCH", f"/runs/resume{_route(dice)}", resume(thread))
        assert status in SENT, content
    elif what == "answers in its vendor's convention":
        assert await _status(client, "POST", f"/runs{_route(dice)}", vendor_resume(thread)) in SENT
    elif what == "is too late with a resume":
        assert await _status(client, "PATCH", f"/runs/resume{_route(dice)}", resume(f"idle-{thread}")) in SENT[1:]
    elif what == "resumes twice":
        for _ in range(2):
            status, content = await client.talk(
                "PATCH", "/runs/resume/wait", resume(thread), idempotency_key=f'"{number}"'
            )
            assert status in SENT, content
    elif what == "uploads":
        assert await _status(client, "POST", "/upload", b"x" * dice.randrange(300_000)) in SENT
    elif what == "downloads":
        assert await _status(client, "GET", f"/download?n={dice.randrange(300_000)}") == 200
    elif what == "pipelines":
        paths = ("/", "/events?n=5", "/slow", "/error", "/download?n=70000")
        client.send(b"".join(request("GET", path) for path in paths))
        async with asyncio.timeout(PATIENCE):
            assert [(await client.answer())[0] for _ in paths] == [200, 200, 200, 500, 200]
    elif what == "talks through a WebSocket":
        client.ask("GET", "/tunnel", None, connection="Upgrade", upgrade="websocket")
        assert (await client.head())[0] == 101
        client.send(b"x" * 1000)
        assert await client.reader.readexactly(1000) == b"x" * 1000
    else:
        assert await _status(client, "GET", "/error") == 500


def _route(dice: Random) -> str:
    return dice.choice(("", "/wait", "/stream"))


async def _status(client: Client, method: str, target: str, body: bytes | None = None) -> int:
    return (await client.talk(method, target, body))[0]
