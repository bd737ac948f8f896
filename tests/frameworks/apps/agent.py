"""An agent with one thread, `t`, without a framework: what the routes of the apps beside this file call."""

from typing import Any

answers: list[Any] = []


def thread() -> dict[str, Any]:
    """GET /threads/t"""
    asks = [] if answers else [{"id": "0" * 32, "value": "Deploy?"}]
    status = "idle" if answers else "interrupted"
    return {"thread_id": "t", "status": status, "interrupts": asks, "values": {"answers": answers}}


def runs() -> list[dict[str, Any]]:
    """POST /runs/search"""
    return [{"run_id": "r1", "agent_id": "deploy"}]


def wait(body: dict[str, Any]) -> dict[str, Any]:
    """POST /runs/wait, with the answer"""
    answers.extend(body["input"]["command"]["resume"].values())
    run = {"run_id": "r2", "agent_id": "deploy", "status": "success", "metadata": {}}
    return {"run": run | {"created_at": "now", "updated_at": "now"}, "values": {"answers": answers}}
