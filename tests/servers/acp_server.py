# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = [
#   "acp-sdk==1.0.3",
#   "uvicorn==0.34.3",  # with newer ones acp-sdk cannot be imported
# ]
# ///
"""An ACP server of acp-sdk, everything in memory."""

import sys
from pathlib import Path

sys.path.remove(str(Path(__file__).parent))  # its modules could shadow packages
sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.servers.launch import options


def main() -> None:
    given = options(__doc__)
    if given.install:
        return
    from tests.servers.apps.families import acp, witness

    witness.serve(acp.app, given.port)


if __name__ == "__main__":
    main()
