"""Packages of Node.js for a server, installed on first use. Standard library only."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from .launch import HERE

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ap_resume_shim_tests"


def modules(app: str, *options: str) -> Path:
    """The folder with the packages that the package.json of `apps/{app}` pins; `options` are those of `npm install`."""
    wanted = HERE / "apps" / app / "package.json"
    folder = CACHE / app / hashlib.sha256(wanted.read_bytes()).hexdigest()[:12]
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(dir=folder.parent))
        shutil.copy(wanted, staging)
        subprocess.run(["npm", "install", "--no-fund", "--no-audit", *options], cwd=staging, check=True)
        try:
            staging.rename(folder)
        except OSError:  # somebody else was faster
            shutil.rmtree(staging)
    return folder / "node_modules"
