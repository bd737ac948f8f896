# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
"""A LangGraph.js server: `langgraphjs dev`, everything in memory. Needs Node.js and npm."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.servers.launch import APPS, become, lay_out, options
from tests.servers.npm import modules


def main() -> None:
    given = options(__doc__)
    if given.http_app:
        raise SystemExit("a LangGraph.js server cannot host a Python app")
    installed = modules(APPS / "js")
    if given.install:
        return
    lay_out("js", "langgraph.json", given)
    (given.workdir / "node_modules").symlink_to(installed)
    command = ["dev", "--no-browser", "--no-reload", "--host", "127.0.0.1", "--port", str(given.port)]
    become(installed / ".bin" / "langgraphjs", *command, "--n-jobs-per-worker", "20", workdir=given.workdir)


if __name__ == "__main__":
    main()
