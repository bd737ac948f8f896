# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = [
#   "ag-ui-strands==1.0.2",
#   "strands-agents==1.62.0",
#   "fastapi>=0.110,<1",
#   "uvicorn>=0.30,<1",
# ]
# ///
"""A Strands agent behind AG-UI's adapter, with a model that is a script."""

import sys
from pathlib import Path

sys.path.pop(0)  # the scripts beside this one, some of which have names of packages
sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.servers.launch import serve_app

if __name__ == "__main__":
    serve_app(__doc__, "families.ag_ui_strands")
