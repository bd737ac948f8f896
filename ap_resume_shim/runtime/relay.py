"""Relays the backend's event stream to the client through a reframer, as it arrives."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from ap_resume_shim.core import sse
from ap_resume_shim.core.errors import Broken, ResumeError, ShutDown, UpstreamError
from ap_resume_shim.core.steps import ClientGone, OriginalResponse, StreamReply
from ap_resume_shim.runtime.client import Client
from ap_resume_shim.runtime.log_lines import Stopwatch
from ap_resume_shim.runtime.waiting import KeepAlive

if TYPE_CHECKING:
    from ap_resume_shim.runtime.upstream import Upstream

COMMENT = b": keep-alive\n\n"
"""Comment that is sent to the client between two events that are far apart."""


async def relay(reply: StreamReply, client: Client, upstream: Upstream, keepalive: float, stopwatch: Stopwatch) -> None:
    """Relay a stream, with a comment after `keepalive` seconds of silence between two events.

    If the stream breaks upstream, the client's stream is broken off too. An `error` event precedes that, unless an
    event is incomplete.
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
        failure = error if isinstance(error, ResumeError) else UpstreamError("The backend's stream was broken off.")
        failure.metadata["resume_state"] = "consumed"
        if reframer.between_events:
            await client.send_bytes(sse.encode("error", failure.body()))
        if failure is error:
            raise Broken(failure) from failure
        raise
    await client.finish()
    if reframer.over:
        upstream.disconnect()


async def relay_original(
    reply: OriginalResponse,
    client: Client,
    upstream: Upstream,
    stopwatch: Stopwatch,
    before_end: Callable[[], Awaitable[None]],
) -> None:
    """Pass the backend's own response on as it comes, and call `before_end` before its end is sent.

    Only a client that reads `Content-Length` knows the end earlier, with the last byte. Raises `Broken` if the response
    breaks off.
    """
    await client.send_head(reply.response, trailers=upstream.trailers is not None)
    if reply.complete:
        await before_end()
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
    if not reply.complete:
        await before_end()
    await client.finish(upstream.trailers)
