# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
"""A LangGraph.js server: `langgraphjs dev`, everything in memory. Needs Node.js and npm."""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.servers.launch import HERE, become, lay_out, options

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ap_resume_shim_tests" / "js"


def modules() -> Path:
    """The folder with the packages that package.json pins, installed on first use."""
    wanted = HERE / "apps" / "js" / "package.json"
    folder = CACHE / hashlib.sha256(wanted.read_bytes()).hexdigest()[:12]
    if not folder.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(dir=CACHE))
        shutil.copy(wanted, staging)
        subprocess.run(["npm", "install", "--no-fund", "--no-audit"], cwd=staging, check=True)
        try:
            staging.rename(folder)
        except OSError:  # somebody else was faster
            shutil.rmtree(staging)
    return folder / "node_modules"


def main() -> None:
    given = options(__doc__)
    if given.http_app:
        raise SystemExit("a LangGraph.js server cannot host a Python app")
    installed = modules()
    if given.install:
        return
    lay_out("js", "langgraph.json", given)
    (given.workdir / "node_modules").symlink_to(installed)
    command = ["dev", "--no-browser", "--no-reload", "--host", "127.0.0.1", "--port", str(given.port)]
    become(installed / ".bin" / "langgraphjs", *command, "--n-jobs-per-worker", "20", workdir=given.workdir)


if __name__ == "__main__":
    main()
