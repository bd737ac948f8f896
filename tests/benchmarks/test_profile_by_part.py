"""Every function of a profile belongs to one part of the package."""

from __future__ import annotations

import asyncio.events
import json.decoder
import re

import pytest

from ap_resume_shim import middleware
from ap_resume_shim.proxy import app
from benchmarks import driver
from benchmarks.profile_by_part import DRIVER, part_of, shares


@pytest.mark.parametrize(
    ("module", "part"),
    [
        (app, "proxy"),
        (middleware, "middleware"),
        (driver, DRIVER),
        (asyncio.events, "asyncio"),
        (json.decoder, "json"),
        (re, "others"),
    ],
)
def test_a_function_belongs_to_the_folder_of_its_module(module: object, part: str) -> None:
    assert part_of(vars(module)["__file__"]) == part


def test_the_time_of_a_function_in_c_belongs_to_its_callers() -> None:
    ours, work = (app.__file__, 1, "f"), (driver.__file__, 1, "g")
    in_c = {ours: (1, 1, 2.0, 2.0), work: (1, 1, 4.0, 4.0)}
    stats = {ours: (1, 1, 1.0, 1.0, {}), work: (1, 1, 1.0, 1.0, {}), ("~", 0, "<built-in>"): (2, 2, 6.0, 6.0, in_c)}
    assert shares(stats) == {"proxy": 3.0}
