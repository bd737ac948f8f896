"""The clock that guards measure durations with."""

from __future__ import annotations

import time


def boottime() -> float:
    """Seconds since some moment; the time for which the machine was suspended is part of them where the system says it.

    Linux has `CLOCK_BOOTTIME`. Elsewhere it is the monotonic clock, which may stand still during a suspension.
    """
    boot: int | None = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boot is None else time.clock_gettime(boot)
