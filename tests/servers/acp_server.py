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

from tests.servers.launch import serve_app

if __name__ == "__main__":
    serve_app(__doc__, "families.acp")
