"""Moments at which clients leave, and servers behind break off."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from random import Random

from tests.soak.clients import THREADS, Client, connected, request, resume, vendor_resume
from tests.soak.origin import SLOW

UPGRADE = {"connection": "Upgrade", "upgrade": "websocket"}

Moment = Callable[[Client, Random], Awaitable[None]]


async def says_nothing(client: Client, dice: Random) -> None:
    pass


async def in_the_head(client: Client, dice: Random) -> None:
    head = request("GET", "/")
    client.send(head[: dice.randrange(1, len(head))])


async def in_an_upload(client: Client, dice: Random) -> None:
    client.ask("POST", "/upload", b"x" * dice.choice((1000, 60_000, 200_000)), content_length="300000")


async def in_an_upload_in_chunks(client: Client, dice: Random) -> None:
    client.ask("POST", "/upload", transfer_encoding="chunked")
    client.send(b"1000\r\n" + b"x" * dice.randrange(4096))


async def before_the_head(client: Client, dice: Random) -> None:
    client.ask(
        dice.choice(("GET", "POST")), dice.choice(("/hang", "/slow")), dice.choice((None, b"{}", b"x" * 300_000))
    )


async def in_an_upload_that_nobody_takes(client: Client, dice: Random) -> None:
    client.ask("POST", "/untaken", b"x" * 10_000_000)


async def in_a_stream(client: Client, dice: Random) -> None:
    client.ask("GET", dice.choice(("/idle", "/busy")))
    await client.head()


async def in_a_download(client: Client, dice: Random) -> None:
    client.ask("GET", "/download?n=20000000")
    await client.head()


async def between_requests(client: Client, dice: Random) -> None:
    await client.talk("GET", "/")


async def with_a_second_request_waiting(client: Client, dice: Random) -> None:
    client.send(request("GET", dice.choice(("/slow", "/busy", "/idle", "/hang"))) + request("GET", "/"))


async def in_a_resume(client: Client, dice: Random) -> None:
    route = dice.choice(("", "/wait", "/stream"))
    thread = f"{dice.choice(('at', 'slow', 'hang', 'rst', 'fin', 'idle'))}-{dice.randrange(THREADS)}"
    body = resume(thread, on_disconnect=dice.choice(("cancel", "continue")))
    fields = {"content_length": str(len(body))}
    if dice.random() < 0.5:
        fields["idempotency_key"] = f'"{dice.randrange(100)}"'
    client.ask("PATCH", f"/runs/resume{route}", body[: dice.choice((10, None))], **fields)
    if dice.random() < 0.3:
        await client.reader.read(100)


async def in_a_vendor_resume(client: Client, dice: Random) -> None:
    body = vendor_resume(f"{dice.choice(('at', 'slow', 'hang', 'rst', 'fin', 'idle'))}-{dice.randrange(THREADS)}")
    route, length = dice.choice(("", "/wait", "/stream")), str(len(body))
    client.ask("POST", f"/runs{route}", body[: dice.choice((10, None))], content_length=length)
    if dice.random() < 0.3:
        await client.reader.read(100)


async def before_a_tunnel(client: Client, dice: Random) -> None:
    client.ask("GET", "/hang", None, **UPGRADE)
    client.send(b"x" * dice.randrange(3))


async def in_a_tunnel(client: Client, dice: Random) -> None:
    client.ask("GET", dice.choice(("/tunnel", "/tunnel/fin", "/tunnel/rst", "/tunnel/half")), None, **UPGRADE)
    if dice.random() < 0.8:
        await client.head()
    for _ in range(dice.randrange(3)):
        client.send(b"x" * dice.choice((1, 100_000)))


async def when_the_backend_breaks_off(client: Client, dice: Random) -> None:
    how = dice.choice(("fin", "rst"))
    client.ask(*dice.choice((("GET", f"/broken?how={how}"), ("POST", f"/refuse?{how}", b"x" * 100_000))))
    await client.reader.read()


async def when_the_backend_closes_what_was_kept(client: Client, dice: Random) -> None:
    for _ in range(3):
        await client.talk("GET", "/closing")


MOMENTS: tuple[Moment, ...] = (
    says_nothing,
    in_the_head,
    in_an_upload,
    in_an_upload_in_chunks,
    before_the_head,
    in_an_upload_that_nobody_takes,
    in_a_stream,
    in_a_download,
    between_requests,
    with_a_second_request_waiting,
    in_a_resume,
    in_a_resume,
    in_a_resume,
    in_a_vendor_resume,
    before_a_tunnel,
    in_a_tunnel,
    when_the_backend_breaks_off,
    when_the_backend_closes_what_was_kept,
)


async def leaves(port: int, dice: Random) -> None:
    """One client's life; the order in which both sides leave is the dice's."""
    moment, how, long = dice.choice(MOMENTS), dice.choice(("fin", "rst", "half")), dice.uniform(0, 2 * SLOW)
    async with connected(port) as client:
        with suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
            async with asyncio.timeout(1):
                await moment(client, dice)
        await asyncio.sleep(long)
        client.leave(how)
        if how == "half":
            await asyncio.sleep(long)
