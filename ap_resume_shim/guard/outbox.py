"""The outbox of a guard: changes that could not be stored while the store was unavailable, to be delivered later."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable

from ap_resume_shim.core.errors import GuardUnavailable

logger = logging.getLogger("ap_resume_shim")

Delivery = Callable[[], Awaitable[object]]
"""A change to deliver. Raises `GuardUnavailable` if that fails."""


class Outbox:
    """Deliveries by sender: in order for each sender, with one attempt every `pause` seconds while they fail."""

    def __init__(self, pause: float, *, most: int = 10_000, most_bytes: int = 64 * 1024 * 1024) -> None:
        """`most`: maximum number of senders; the newest stay.

        `most_bytes`: the total size that `has_room_for` allows.
        """
        self._pause, self._most, self._most_bytes = pause, most, most_bytes
        self._waiting: dict[object, deque[tuple[Delivery, int]]] = {}
        self._bytes = 0
        self._task: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, sender: object) -> bool:
        """Return True if a delivery of the sender is pending."""
        return sender in self._waiting

    def has_room_for(self, size: int) -> bool:
        """Return True if a delivery of `size` bytes may be added."""
        return self._bytes + size <= self._most_bytes

    def put(self, sender: object, delivery: Delivery, size: int = 0) -> None:
        """Add a delivery, which follows the earlier ones of its sender."""
        self._waiting.setdefault(sender, deque()).append((delivery, size))
        self._bytes += size
        if len(self._waiting) > self._most:
            self._drop(next(iter(self._waiting)))
            logger.warning("the guard's store is unavailable for too long: the changes of the oldest resume are lost")
        self._start()

    async def aclose(self, patience: float) -> None:
        """Stop. Pending deliveries are attempted for `patience` seconds."""
        if self._task is not None and self._task.get_loop() is asyncio.get_running_loop():
            await asyncio.wait({self._task}, timeout=patience)
            self._task.cancel()

    def _start(self) -> None:
        if self._task is None or self._task.done() or self._task.get_loop() is not asyncio.get_running_loop():
            self._task = asyncio.create_task(self.deliver())

    async def deliver(self) -> None:
        """Deliver everything, however long it takes."""
        while self._waiting:
            sender, deliveries = next(iter(self._waiting.items()))
            delivery, size = deliveries[0]
            try:
                await delivery()
            except GuardUnavailable:
                await asyncio.sleep(self._pause)
                if sender in self._waiting:  # try the other senders next: the store may refuse only this delivery
                    self._waiting[sender] = self._waiting.pop(sender)
                continue
            if deliveries:
                deliveries.popleft()
                self._bytes -= size
            if not deliveries and self._waiting.get(sender) is deliveries:  # else they were dropped meanwhile
                del self._waiting[sender]

    def _drop(self, sender: object) -> None:
        deliveries = self._waiting.pop(sender)
        self._bytes -= sum(size for _, size in deliveries)
        deliveries.clear()
