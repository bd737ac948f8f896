# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = [
#   "ag-ui-langgraph==0.0.47",
#   "langgraph==1.2.24",
#   "fastapi>=0.110,<1",
#   "uvicorn>=0.30,<1",
# ]
# ///
"""A LangGraph graph behind AG-UI's adapter: as it is on `/`, with interrupts in the outcome on `/outcome`."""

import sys
from pathlib import Path

sys.path.pop(0)  # the scripts beside this one, some of which have names of packages
sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.servers.launch import serve_app

if __name__ == "__main__":
    serve_app(__doc__, "families.ag_ui_langgraph")
