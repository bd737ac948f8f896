# /// script
# requires-python = ">=3.12"
# dependencies = [
#   "aegra-api==0.11.0",
#   "aegra-cli==0.11.0",
#   "langchain==1.5.2",
#   "httpx>=0.27,<1",
#   "pydantic>=2.9,<3",
# ]
# ///
"""An Aegra server without Redis, on the PostgreSQL database that DATABASE_URL names."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.servers.launch import become, beside_python, lay_out, options

ENVIRONMENT = {"AEGRA_CONFIG": "aegra.json", "AUTH_TYPE": "noop", "ENV_MODE": "LOCAL", "REDIS_BROKER_ENABLED": "false"}


def main() -> None:
    given = options(__doc__)
    if given.install:
        return
    lay_out("py", "aegra.json", given)
    address = {"HOST": "127.0.0.1", "PORT": str(given.port)}
    command = ["serve", "--host", address["HOST"], "--port", address["PORT"]]
    become(beside_python("aegra"), *command, workdir=given.workdir, **ENVIRONMENT, **address)


if __name__ == "__main__":
    main()
