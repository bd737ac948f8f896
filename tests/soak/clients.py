"""Clients: raw connections to the sidecar, which ask, read, and leave when and how they like."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from tests.soak.origin import leave

PATIENCE = 60.0
"""Seconds that a client waits for an answer."""
THREADS = 30
"""Threads of each kind: few, so that after two minutes the guard remembers all of them and needs no more memory."""


class Client:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, data: bytes) -> None:
        """Send bytes, as they are."""
        self.writer.write(data)

    def ask(self, method: str, target: str, body: bytes | None = None, **fields: str) -> None:
        """Send a request."""
        self.send(request(method, target, body, **fields))

    async def head(self) -> tuple[int, dict[str, str]]:
        """The status and the fields of an answer."""
        line, *fields = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        return int(line.split()[1]), {
            name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)
        }

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        """A whole answer."""
        status, headers = await self.head()
        if "transfer-encoding" not in headers:
            return status, headers, await self.reader.readexactly(int(headers.get("content-length", "0")))
        body = b""
        while size := int(await self.reader.readline(), 16):
            body += (await self.reader.readexactly(size + 2))[:-2]
        await self.reader.readline()
        return status, headers, body

    async def talk(self, method: str, target: str, body: bytes | None = None, **fields: str) -> tuple[int, bytes]:
        """Ask, and read the answer."""
        self.ask(method, target, body, **fields)
        async with asyncio.timeout(PATIENCE):
            status, _, content = await self.answer()
        return status, content

    def leave(self, how: str) -> None:
        """`fin`, `rst`, or `half`, which goes on reading."""
        leave(self.writer, how)


def request(method: str, target: str, body: bytes | None = None, **fields: str) -> bytes:
    """The bytes of a request."""
    length = {} if body is None else {"content_length": str(len(body))}
    fields = {"host": "here", **length, **fields}
    lines = [f"{method} {target} HTTP/1.1", *(f"{name.replace('_', '-')}: {value}" for name, value in fields.items())]
    return "\r\n".join([*lines, "", ""]).encode() + (body or b"")


def resume(thread: str, **body: Any) -> bytes:
    """The body of a resume."""
    return json.dumps({"thread_id": thread, "input": "yes", **body}).encode()


def vendor_resume(thread: str) -> bytes:
    """The body of an answer in the backend's own convention, which the sidecar observes."""
    return json.dumps({"thread_id": thread, "agent_id": "a", "input": {"command": {"resume": "yes"}}}).encode()


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[Client]:
    """A connection to the sidecar; what became of it in the block is nobody's concern, but it ends with it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**20)
    try:
        yield Client(reader, writer)
    finally:
        with suppress(OSError):
            writer.transport.abort()
