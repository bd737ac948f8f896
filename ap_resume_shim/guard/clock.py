"""The clock with which guards measure durations."""

from __future__ import annotations

import time


def boottime() -> float:
    """Return the seconds since a fixed moment.

    The time in which the machine was suspended counts, if the system reports it: Linux has `CLOCK_BOOTTIME`. Elsewhere
    this is the monotonic clock, which may stop during a suspension.
    """
    boot: int | None = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boot is None else time.clock_gettime(boot)
