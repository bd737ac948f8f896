"""The part of the tutorial about LangGraph, on a real server that has the tutorial's files."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.servers.run import start
from tests.support.matrix import chosen
from tests.test_docs import TUTORIAL, blocks, run


@pytest.mark.skipif("langgraph" not in chosen("AP_TEST_BACKENDS", ("langgraph",)), reason="it is about LangGraph")
def test_the_tutorials_langgraph_app_is_guarded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    agent, shim, client = blocks(TUTORIAL, "python")[-3:]
    for name, text in {"agent.py": agent, "shim.py": shim, "langgraph.json": blocks(TUTORIAL, "json")[0]}.items():
        (tmp_path / name).write_text(text)
    with start("langgraph", app=tmp_path) as server:
        run(client.replace("http://127.0.0.1:2024", server.url))
    printed = capsys.readouterr().out.splitlines()
    assert printed == re.findall(r"print\(.*\)  # (.*)", client)
