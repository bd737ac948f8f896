# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
"""A Mastra server: workflows and an agent behind `@mastra/hono`, state in SQLite. Needs Node.js and npm."""

import shutil
import sys
from pathlib import Path

sys.path.remove(str(Path(__file__).parent))  # its modules could shadow packages
sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.servers.launch import APPS, become, lay_out, options
from tests.servers.npm import modules

INSTALL = ("--legacy-peer-deps",)
"""Its packages' peer dependencies contradict each other, which npm refuses unless it is told to go on."""


def main() -> None:
    given = options(__doc__)
    if given.http_app:
        raise SystemExit("a Mastra server cannot host a Python app")
    installed = modules(APPS / "mastra", *INSTALL)
    if given.install:
        return
    node = shutil.which("node")
    if node is None:
        raise SystemExit("Node.js is not installed")
    lay_out("mastra", "package.json", given)
    (given.workdir / "node_modules").symlink_to(installed)
    # MASTRA_AUTO_REFRESH_PROVIDERS: in development it fetches the list of all models there are.
    become(node, "server.mjs", workdir=given.workdir, PORT=str(given.port), MASTRA_AUTO_REFRESH_PROVIDERS="false")


if __name__ == "__main__":
    main()
