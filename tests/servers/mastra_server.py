# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
"""A Mastra server: workflows and an agent behind `@mastra/hono`, state in SQLite. Needs Node.js and npm."""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.remove(str(Path(__file__).parent))  # its modules could shadow packages
sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.servers.launch import HERE, become, lay_out, options

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ap_resume_shim_tests" / "mastra"
INSTALL = ["npm", "install", "--legacy-peer-deps", "--no-package-lock", "--no-fund", "--no-audit"]
"""Its packages' peer dependencies contradict each other, which npm refuses unless it is told to go on."""


def modules() -> Path:
    """The folder with the packages that package.json pins, installed on first use."""
    wanted = HERE / "apps" / "mastra" / "package.json"
    folder = CACHE / hashlib.sha256(wanted.read_bytes()).hexdigest()[:12]
    if not folder.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(dir=CACHE))
        shutil.copy(wanted, staging)
        subprocess.run(INSTALL, cwd=staging, check=True)
        try:
            staging.rename(folder)
        except OSError:  # somebody else was faster
            shutil.rmtree(staging)
    return folder / "node_modules"


def main() -> None:
    given = options(__doc__)
    if given.http_app:
        raise SystemExit("a Mastra server cannot host a Python app")
    installed = modules()
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
