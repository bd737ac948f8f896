"""The demo: a double click without the shim and with it."""

from __future__ import annotations

import re

import pytest

from ap_resume_shim.demo.double_click import WIDTH
from ap_resume_shim.sidecar.cli import main
from tests.support.demo_picture import PICTURE, draw, printed


def test_the_demo_shows_a_double_click_without_the_shim_and_with_it(capsys: pytest.CaptureFixture[str]) -> None:
    main(["demo"])
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= WIDTH
    middle = next(number for number, line in enumerate(lines) if line.startswith("2. "))
    today, guarded = "\n".join(lines[:middle]), "\n".join(lines[middle:])
    assert re.findall(r"(\d+): the agent has (\w+)", today) == [("200", "continued"), ("200", "started")]
    assert re.findall(r"(\d+): the agent has (\w+)", guarded) == [("200", "continued")]
    assert "409 thread_not_interrupted: " in guarded
    assert re.findall(r"server receives +POST (/runs/(?!search)\S+)", guarded) == ["/runs/stream"]
    assert guarded.count("streamed ") > 3


def test_the_readmes_picture_is_the_demos_output() -> None:
    assert PICTURE.read_text("utf-8") == draw(printed()), "`make picture` renews it"
