# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = [
#   "langgraph-cli[inmem]==0.4.40",
#   "langgraph-api==0.16.7",
#   "langgraph==1.2.24",
#   "langchain==1.5.2",
#   "langgraph-runtime-inmem==0.36.7",
#   "langgraph-sdk==0.4.14",
#   "httpx>=0.27,<1",
#   "pydantic>=2.9,<3",
# ]
# ///
"""A current LangGraph server: `langgraph dev`, everything in memory."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.servers.launch import langgraph_dev

if __name__ == "__main__":
    langgraph_dev(__doc__)
