"""The process's loggers, which `serve` configures."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

NAMES = (None, "ap_resume_shim", "ap_resume_shim.access")


@contextmanager
def restored_loggers() -> Iterator[None]:
    """Restore levels, handlers and propagation at the end: other tests of the same process read log lines."""
    loggers = [logging.getLogger(name) for name in NAMES]
    before = [(logger, logger.level, list(logger.handlers), logger.propagate) for logger in loggers]
    try:
        yield
    finally:
        for logger, level, handlers, propagate in before:
            logger.setLevel(level)
            logger.handlers[:], logger.propagate = handlers, propagate
