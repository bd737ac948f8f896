# /// script
# requires-python = ">=3.12,<3.14"
# dependencies = [
#   "agentseek-api==0.3.3",
#   "langgraph==1.2.24",
# ]
# ///
"""An agentseek server, with its tables in SQLite and LangGraph's checkpoints in memory."""

import sys
from importlib import import_module
from pathlib import Path

sys.path.pop(0)  # this folder, whose files have names of packages
sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.servers.launch import options


def main() -> None:
    given = options(__doc__)
    if given.install:
        return
    from tests.servers.apps.families.agentseek import write_manifest
    from tests.servers.apps.families.witness import serve

    write_manifest(given.workdir)
    serve(import_module("agentseek_api.main").app, given.port)  # reads its settings when it is imported


if __name__ == "__main__":
    main()
