# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = [
#   "langhost==0.11.1.post1",
#   "langgraph-api==0.11.1",
#   "langgraph==1.2.24",
#   "langchain==1.5.2",
#   "langgraph-sdk==0.4.14",
#   "httpx>=0.27,<1",
#   "pydantic>=2.9,<3",
# ]
# ///
"""A langhost server: LangGraph's API server on the PostgreSQL database DATABASE_URI and the Redis server REDIS_URI."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.servers.launch import become, beside_python, lay_out, options


def main() -> None:
    given = options(__doc__)
    if given.install:
        return
    lay_out(given.app, "langgraph.json", given)
    command = ["serve", "--host", "127.0.0.1", "--port", str(given.port), "--n-jobs-per-worker", "20"]
    become(beside_python("langhost"), *command, workdir=given.workdir)


if __name__ == "__main__":
    main()
