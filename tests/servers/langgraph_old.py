# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = [
#   "langgraph-cli[inmem]==0.3.8",
#   "langgraph-api==0.2.125",
#   "langgraph==0.6.11",
#   "langgraph-runtime-inmem==0.6.10",
#   "starlette<0.48",
#   "httpx>=0.27,<1",
#   "pydantic>=2.9,<3",
# ]
# ///
"""A LangGraph server of 2025: other defaults, other error bodies. Later versions of its in-memory runtime break it."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.servers.launch import langgraph_dev

if __name__ == "__main__":
    langgraph_dev(__doc__)
