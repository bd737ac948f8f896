"""Every code block of the README, the tutorial and the how-tos runs."""

from __future__ import annotations

import json
import re
import shlex
import types
from pathlib import Path
from typing import Any

import pytest

from ap_resume_shim import ResumeShim
from examples.legacy_server.server import create_app
from tests.e2e.placements import sidecar
from tests.serving import listening, serving

ROOT = Path(__file__).parent.parent
HOW_TOS = sorted(ROOT.glob("docs/how-to/*.md"))


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)


def run(code: str, **names: Any) -> dict[str, Any]:
    """Run a block as a module, so that what it defines can be looked at."""
    module = types.ModuleType("block")
    module.__dict__.update(names)
    exec(compile(code, "block", "exec"), module.__dict__)
    return module.__dict__


def asked_thread(client: Any) -> str:
    """A thread of the legacy server that waits for an answer."""
    thread_id = str(client.post("/threads", json={}).json()["thread_id"])
    client.post("/runs/wait", json={"thread_id": thread_id, "agent_id": "deploy", "input": {}})
    return thread_id


def test_the_readme_has_no_other_blocks_than_these() -> None:
    found = re.findall(r"^```(\w+)", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert found == ["python", "bash", "python", "json", "python"]


def test_the_readmes_middleware_answers_a_resume() -> None:
    import httpx

    app = run(blocks(ROOT / "README.md", "python")[0])["app"]
    with serving(app) as url, httpx.Client(base_url=url) as client:
        thread_id = asked_thread(client)
        answer = client.patch("/runs/resume/wait", json={"thread_id": thread_id, "input": "approve"})
    assert answer.json()["values"]["production"] == "4.2"


def test_the_readmes_sidecar_and_client_work(capsys: pytest.CaptureFixture[str]) -> None:
    import httpx

    (command,) = blocks(ROOT / "README.md", "bash")
    words = shlex.split(command)
    assert words[:3] == ["ap-resume-shim", "serve", "--upstream"]
    assert words[4:] == ["--port", "8063"]
    with serving(create_app()) as upstream, sidecar(upstream) as url, httpx.Client(base_url=url) as client:
        code = blocks(ROOT / "README.md", "python")[1].replace("http://127.0.0.1:8063", url)
        run(code, thread_id=asked_thread(client))
    assert capsys.readouterr().out.startswith("200 ")


def test_the_readmes_langgraph_recipe_is_the_one_that_the_matrix_uses() -> None:
    recipe = json.loads(blocks(ROOT / "README.md", "json")[0])
    app = run(blocks(ROOT / "README.md", "python")[2])["app"]
    assert recipe["http"] == {"app": "./shim.py:app"}
    assert [middleware.cls for middleware in app.user_middleware] == [ResumeShim]


def test_the_tutorial_works_from_top_to_bottom(capsys: pytest.CaptureFixture[str]) -> None:
    with listening() as free:
        port = free.getsockname()[1]
    code = "\n".join(blocks(ROOT / "docs/tutorial.md", "python")).replace("8063", str(port))
    run(code)
    said = capsys.readouterr().out
    for promised in re.findall(r"print\(.*\)  # (.*)", code):
        assert promised in said
    assert "event: updates" in said


@pytest.mark.parametrize("page", HOW_TOS, ids=[page.stem for page in HOW_TOS])
def test_a_how_to_runs(page: Path) -> None:
    for code in blocks(page, "python"):
        assert "app" in run(code)


def test_links_between_the_pages_lead_somewhere() -> None:
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("benchmarks/*.md")]
    for page in pages:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name} links to {target}"
