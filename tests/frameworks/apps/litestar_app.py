from typing import Any

import agent
from litestar import Litestar, get, post


@get("/threads/t", sync_to_thread=False)
def thread() -> dict[str, Any]:
    return agent.thread()


@post("/runs/search", status_code=200, sync_to_thread=False)
def runs() -> list[dict[str, Any]]:
    return agent.runs()


@post("/runs/wait", status_code=200, sync_to_thread=False)
def wait(data: dict[str, Any]) -> dict[str, Any]:
    return agent.wait(data)


routes = [thread, runs, wait]
app = Litestar(routes)
