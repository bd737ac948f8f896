# /// script
# requires-python = ">=3.11"
# dependencies = ["a2a-sdk[http-server]==1.3.0", "uvicorn>=0.30,<1"]
# ///
"""An A2A agent on the current SDK, with three bindings: REST 1.0, JSON-RPC 1.0 and JSON-RPC 0.3.

The card at the root names all three, JSON-RPC 1.0 first; the one under `/rest` names REST alone.
"""

import sys
from pathlib import Path

sys.path.remove(str(Path(__file__).parent))  # its modules could shadow packages
sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.servers.launch import options


def main() -> None:
    given = options(__doc__)
    if given.install:
        return
    from tests.servers.apps.families import a2a_current, witness

    witness.serve(a2a_current.app(f"http://127.0.0.1:{given.port}"), given.port)


if __name__ == "__main__":
    main()
