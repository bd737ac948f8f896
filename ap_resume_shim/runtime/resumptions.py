"""Runs resumes, each in its own task, and refuses those that cannot be prepared."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from ap_resume_shim._shutdown import cancel_and_wait, is_shutdown
from ap_resume_shim.core.errors import ResumeError, ShuttingDown
from ap_resume_shim.core.steps import ClientGone
from ap_resume_shim.runtime.client import Client
from ap_resume_shim.runtime.driver import Resumption
from ap_resume_shim.runtime.resume_log import ResumeLine


class Resumptions:
    """Runs resumes to their ends."""

    def __init__(self) -> None:
        self.running: set[asyncio.Task[None]] = set()
        """The resumes in progress."""

    async def run(self, prepare: Callable[[], Awaitable[Resumption | None]], client: Client, line: ResumeLine) -> bool:
        """Prepare a resume and run it, or refuse it. Returns False if `prepare` returned None."""
        try:
            resumption = await prepare()
        except ResumeError as error:
            line.record_failure(error)
            try:
                await client.send_error(error)
            finally:
                line.write()
        except ClientGone:
            client.gone.set()
            line.write()
        except asyncio.CancelledError as cancelled:
            client.cut = not client.gone.is_set()
            line.record_failure(ShuttingDown() if is_shutdown(cancelled) else cancelled)
            try:
                if not is_shutdown(cancelled):
                    raise
                await client.send_error(ShuttingDown())
            finally:
                line.write()
        except BaseException as error:
            line.record_failure(error)
            line.write()
            raise
        else:
            if resumption is None:
                return False
            await self._run_to_completion(resumption, client)
        return True

    async def _run_to_completion(self, resumption: Resumption, client: Client) -> None:
        """Run a resume to its end, even if its client leaves or the calling task is cancelled."""
        task = asyncio.create_task(resumption.run())
        self.running.add(task)
        task.add_done_callback(self.running.discard)
        watch = asyncio.create_task(client.watch())
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as cancelled:
            client.cut = not client.gone.is_set()
            if not is_shutdown(cancelled):
                client.gone.set()
                raise
            await cancel_and_wait(task)
        finally:
            watch.cancel()
