# /// script
# requires-python = ">=3.11"
# dependencies = [
#   "starlette==1.10.0",
#   "uvicorn==0.54.0",
# ]
# ///
"""An app that answers as AGNTCY's workflow server was recorded to: the server itself is on no package index."""

import sys
from pathlib import Path

sys.path.pop(0)  # this folder, whose files have names of packages
sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.servers.launch import serve_app

if __name__ == "__main__":
    serve_app(__doc__, "replay.agntcy")
