"""Every bytecode of the profile belongs to one part of the package."""

from __future__ import annotations

import asyncio.events
import json.decoder
import re
import sys

import pytest

from ap_resume_shim import middleware
from ap_resume_shim.proxy import app
from benchmarks import driver
from benchmarks.profile_by_part import DRIVER, WORK, count, part_of


@pytest.mark.parametrize(
    ("module", "part"),
    [
        (app, "proxy"),
        (middleware, "middleware"),
        (driver, DRIVER),
        (asyncio.events, "asyncio"),
        (json.decoder, "json"),
        (re, "other libraries"),
    ],
)
def test_a_function_belongs_to_the_folder_of_its_module(module: object, part: str) -> None:
    assert part_of(vars(module)["__file__"]) == part


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="later versions do not report all opcodes to a trace function")
@pytest.mark.parametrize("method", WORK.values())
def test_the_proxy_and_http1_take_part_in_all_work_and_the_driver_is_not_counted(method: str) -> None:
    counted = count(method, 2)
    assert counted["http1"] > 0
    assert counted["proxy"] > 0
    assert counted[DRIVER] == 0
