"""Processor time of processes, read from Linux's `/proc`."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
"""The resolution of `/proc/PID/stat`, in parts of a second."""


def cpu_seconds(*leaders: int) -> float:
    """Return the user and system time so far, in seconds, of these processes and of all processes of their sessions."""
    total = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(FileNotFoundError, ProcessLookupError):
            pid, _, rest = stat.read_text().partition(" ")
            fields = rest.rpartition(")")[2].split()
            if int(pid) in leaders or int(fields[3]) in leaders:
                total += int(fields[11]) + int(fields[12])
    return total / TICKS
