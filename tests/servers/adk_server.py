# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = ["google-adk==2.13.0"]
# ///
"""Google ADK's own api server, with the sessions in SQLite and a model that is a script."""

import shutil
import sys
from pathlib import Path

sys.path.pop(0)  # this folder, whose modules shall stand for no package
sys.path.insert(0, str(Path(__file__).parents[2]))

from google.adk.cli.fast_api import get_fast_api_app  # type: ignore[import-not-found]

from tests.servers.apps.families.witness import serve
from tests.servers.launch import HERE, options


def main() -> None:
    given = options(__doc__)
    if given.install:
        return
    agents = given.workdir / "agents"
    shutil.copytree(HERE / "apps/families/adk_agents", agents, dirs_exist_ok=True)
    sessions = f"sqlite:///{given.workdir}/sessions.db"
    serve(get_fast_api_app(agents_dir=str(agents), session_service_uri=sessions, web=False), given.port)


if __name__ == "__main__":
    main()
