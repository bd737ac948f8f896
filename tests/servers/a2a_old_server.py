# /// script
# requires-python = ">=3.11"
# dependencies = ["a2a-sdk[http-server]==0.3.26", "uvicorn>=0.30,<1"]
# ///
"""An A2A agent on the last SDK of version 0.3: JSON-RPC at the root."""

import sys
from pathlib import Path

sys.path.remove(str(Path(__file__).parent))  # its modules could shadow packages
sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.servers.launch import options


def main() -> None:
    given = options(__doc__)
    if given.install:
        return
    from tests.servers.apps.families import a2a_old, witness

    witness.serve(a2a_old.app(f"http://127.0.0.1:{given.port}"), given.port)


if __name__ == "__main__":
    main()
