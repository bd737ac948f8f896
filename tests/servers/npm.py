"""Packages of Node.js for a server or a client, installed on first use. Standard library only."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ap_resume_shim_tests"


def modules(app: Path, *options: str) -> Path:
    """The folder with the packages that the package.json in `app` pins; `options` are those of `npm install`."""
    wanted = app / "package.json"
    folder = CACHE / app.name / hashlib.sha256(wanted.read_bytes()).hexdigest()[:12]
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(dir=folder.parent))
        shutil.copy(wanted, staging)
        subprocess.run(
            ["npm", "install", "--no-fund", "--no-audit", "--no-package-lock", *options], cwd=staging, check=True
        )
        try:
            staging.rename(folder)
        except OSError:  # somebody else was faster
            shutil.rmtree(staging)
    return folder / "node_modules"
