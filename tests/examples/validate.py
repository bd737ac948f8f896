# /// script
# requires-python = ">=3.11"
# dependencies = ["check-jsonschema==0.39.0", "kubernetes-validate==1.37.0"]
# ///
"""Validates files of deployments against published schemas, which are in packages of this script's own environment.

uv run --script tests/examples/validate.py compose|kubernetes FILE...
"""

import subprocess
import sys
from pathlib import Path

COMMANDS = {
    "compose": ["check-jsonschema", "--builtin-schema", "vendor.compose-spec"],
    "kubernetes": ["kubernetes-validate", "--strict", "--kubernetes-version", "1.37"],
}

if __name__ == "__main__":
    _, kind, *files = sys.argv
    program, *options = COMMANDS[kind]
    sys.exit(subprocess.run([Path(sys.executable).with_name(program), *options, *files]).returncode)
