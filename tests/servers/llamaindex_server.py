# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = [
#   "llama-agents-server==0.8.0",
#   "llama-index-workflows==2.26.1",
# ]
# ///
"""LlamaIndex's workflow server, with its default store: in memory."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:] = [str(HERE.parents[1]), *(path for path in sys.path if Path(path).resolve() != HERE)]

from tests.servers.launch import options  # noqa: E402


def main() -> None:
    given = options(__doc__)
    if given.install:
        return
    from tests.servers.apps.families.llamaindex import app
    from tests.servers.apps.families.witness import serve

    serve(app(), given.port)


if __name__ == "__main__":
    main()
