# /// script
# requires-python = ">=3.12,<3.14"
# dependencies = [
#   "langrove==0.3.0",
#   "langgraph==1.2.24",
#   "langgraph-checkpoint-postgres==3.2.0",
#   "psycopg[binary]==3.3.9",
# ]
# ///
"""A Langrove server, on PostgreSQL and Redis. Its worker is left out: the tests have no background runs."""

import json
import os
import subprocess
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
    given.workdir.mkdir(parents=True, exist_ok=True)
    os.chdir(given.workdir)
    Path("langgraph.json").write_text(json.dumps({"graphs": {"scenarios": "./graph.py:graph"}}))
    Path("graph.py").write_text("from tests.servers.apps.families.scenarios import build\n\ngraph = build()\n")
    subprocess.run([sys.executable, "-m", "langrove", "migrate"], check=True)
    from tests.servers.apps.families.witness import serve

    serve(import_module("langrove.app").create_app(), given.port)


if __name__ == "__main__":
    main()
