"""The shim around the vendors' own apps, in their process, as `docs/how-to/frameworks.md` has it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from ap_resume_shim.core.protocol import Mode
from tests.families.subjects import subjects
from tests.frameworks.test_frameworks import served
from tests.servers.launch import HERE
from tests.servers.run import KINDS
from tests.support.world import Place, World

APPS = {
    "agno": """
import os

os.environ["AGNO_TELEMETRY"] = "false"
from tests.servers.apps.families.agno import agent_os

agents = agent_os(Path.cwd())
""",
    "a2a-jsonrpc": """
import os

from tests.servers.apps.families.a2a_current import app
agents = app(f"http://127.0.0.1:{os.environ['PORT']}")
""",
    "adk": """
import shutil

from google.adk.cli.fast_api import get_fast_api_app

from tests.servers.launch import HERE

shutil.copytree(HERE / "apps/families/adk_agents", "agents")
agents = get_fast_api_app(agents_dir="agents", session_service_uri="sqlite:///sessions.db", web=False)
""",
    "ag-ui-langgraph": "from tests.servers.apps.families.ag_ui_langgraph import app as agents",
    "llamaindex": "from tests.servers.apps.families.llamaindex import app\nagents = app()",
}
"""How each vendor's app is made, by the name of its subject in `tests/families`."""
SHIM = """
from pathlib import Path

from ap_resume_shim import ResumeShim
from tests.servers.apps.families.witness import Witness

{}
app = ResumeShim(Witness(agents), backend={!r}, options={!r})
"""


def packages(server: str) -> list[str]:
    """What the start script of the server installs, and the shim."""
    block = re.search(
        r"^# /// script\n(.*?)^# ///", (HERE / KINDS[server].script).read_text(), re.DOTALL | re.MULTILINE
    )
    assert block
    needed = tomllib.loads(re.sub(r"^# ?", "", block[1], flags=re.MULTILINE))["dependencies"]
    return [*needed, "httpx", "pydantic", "starlette", "uvicorn"]


@pytest.mark.parametrize("name", APPS)
def test_one_of_two_answers_reaches_the_agent_of_a_wrapped_app(name: str, tmp_path: Path) -> None:
    kind = subjects()[name]
    code = SHIM.format(APPS[name], kind.backend, kind.options)
    with (
        served(code, packages(kind.server), tmp_path, ready="/__witness") as client,
        World(Place(url := str(client.base_url).rstrip("/"), list, url), kind) as world,
    ):
        thread = world.thread()
        first = world.resume(Mode.WAIT, thread, input=kind.yes)
        second = world.resume(Mode.WAIT, thread, input=kind.no)
        assert (first.status, second.status) == (200, 409), (first.text, second.text)
        assert world.heard(thread) == [kind.yes]
