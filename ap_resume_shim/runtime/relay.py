"""The client's stream: the backend's, through a reframer, as it comes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ap_resume_shim.core import sse
from ap_resume_shim.core.errors import Broken, ResumeError, ShutDown, UpstreamError
from ap_resume_shim.core.steps import ClientGone, PassedOn, StreamReply
from ap_resume_shim.runtime.client import Client
from ap_resume_shim.runtime.log_lines import Stopwatch
from ap_resume_shim.runtime.waiting import KeepAlive

if TYPE_CHECKING:
    from ap_resume_shim.runtime.upstream import Upstream

COMMENT = b": keep-alive\n\n"
"""What a client is sent between two events that are far apart."""


async def relay(reply: StreamReply, client: Client, upstream: Upstream, keepalive: float, stopwatch: Stopwatch) -> None:
    """Pass a stream on as it comes, with a comment after `keepalive` seconds of silence between two events.

    A stream that breaks upstream breaks for the client, too; between two events an `error` event comes before that.
    """
    reframer = reply.reframer

    async def comment() -> None:
        if reframer.between_events:
            await client.send_bytes(COMMENT)

    silence = KeepAlive(keepalive, comment)
    await client.start_stream(reply.headers)
    try:
        await client.send_bytes(reframer.feed(reply.head))
        while not reframer.over:
            with stopwatch:
                chunk = await upstream.next_chunk(silence)
            if chunk is None:
                break
            await client.send_bytes(reframer.feed(chunk))
        await client.send_bytes(reframer.finish())
    except ClientGone:
        raise
    except (Exception, asyncio.CancelledError) as raised:
        error = raised
        if isinstance(raised, asyncio.CancelledError):
            upstream.cut()
            error = ShutDown()
        if reframer.between_events:
            failure = error if isinstance(error, ResumeError) else UpstreamError("The backend broke off.")
            failure.metadata["resume_state"] = "consumed"
            await client.send_bytes(sse.encode("error", failure.body()))
        if isinstance(error, ResumeError):
            raise Broken(error) from error
        raise
    await client.finish()
    if reframer.over:
        upstream.leave()


async def pass_on(reply: PassedOn, client: Client, upstream: Upstream, stopwatch: Stopwatch) -> None:
    """Pass the backend's own response on as it comes. Raises `Broken` if it breaks off."""
    await client.pass_on(reply.response)
    await client.send_bytes(reply.response.body)
    try:
        while not reply.complete:
            with stopwatch:
                chunk = await upstream.next_original_chunk()
            if chunk is None:
                break
            await client.send_bytes(chunk)
    except ResumeError as error:
        raise Broken(error) from error
    await client.finish()
