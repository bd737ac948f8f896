"""The demo against a real server: `make demo BACKEND=langgraph`."""

from __future__ import annotations

import sys
from uuid import uuid4

from ap_resume_shim import ReverseProxy
from ap_resume_shim.demo.double_click import Story, play

from .run import start

STORIES = {
    "langgraph": Story(
        "langgraph",
        (str(uuid4()), str(uuid4())),
        "/threads/$thread/runs/wait",
        {"assistant_id": "ask", "input": {"topic": "release 4.2 in production"}},
        {"assistant_id": "ask", "command": {"resume": "approve"}},
        "updates",
        "answer",
    )
}

if __name__ == "__main__":
    (name,) = sys.argv[1:]
    if name not in STORIES:
        sys.exit(f"There is no demo for {name!r}; there are legacy, {', '.join(STORIES)}.")
    print(f"Starting a real {name} server (the first time, its packages are installed) ...", flush=True)
    with start(name) as server:
        play(STORIES[name], ReverseProxy(server.url))
