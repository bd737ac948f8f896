# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = [
#   "agent-framework-ag-ui==1.7.0",
#   "agent-framework-core==1.23.0",
#   "uvicorn>=0.30,<1",
# ]
# ///
"""A workflow of Microsoft's Agent Framework behind its AG-UI endpoint."""

import sys
from pathlib import Path

sys.path.pop(0)  # the scripts beside this one, some of which have names of packages
sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.servers.launch import serve_app

if __name__ == "__main__":
    serve_app(__doc__, "families.ag_ui_agent_framework")
