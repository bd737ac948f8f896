# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = [
#   "agno[os]==3.1.10",
# ]
# ///
"""An AgentOS server with an agent, a team and workflows, on SQLite."""

import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:] = [str(HERE.parents[1]), *(path for path in sys.path if Path(path).resolve() != HERE)]

from tests.servers.launch import options  # noqa: E402


def main() -> None:
    given = options(__doc__)
    if given.install:
        return
    given.workdir.mkdir(parents=True, exist_ok=True)
    os.chdir(given.workdir)
    os.environ["AGNO_TELEMETRY"] = "false"
    from tests.servers.apps.families.agno import agent_os
    from tests.servers.apps.families.witness import serve

    serve(agent_os(given.workdir), given.port)


if __name__ == "__main__":
    main()
