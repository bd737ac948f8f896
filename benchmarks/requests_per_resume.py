"""The number of requests to the backend for one resume, by backend and mode, with and without `agent_id`."""

from __future__ import annotations

import json
import os
from typing import Any

from ap_resume_shim.core.protocol import Mode
from benchmarks.table import show
from tests.e2e.drivers import DRIVERS
from tests.e2e.placements import BACKENDS, GRAPHS, place
from tests.support.world import World

FORMS = [(mode, given) for given in (False, True) for mode in Mode]
"""Mode, and whether `agent_id` is given."""


def goal(backend: str, mode: Mode) -> int:
    """Return the maximum number of requests; on LangGraph's servers, a lookup has three, sent concurrently."""
    if backend.startswith("langgraph"):
        return 8 if mode is Mode.WAIT else 5
    return 3


def requests_of(world: World, mode: Mode, *, given: bool) -> list[str]:
    """Return the requests for one resume of a settled thread, as `METHOD path`."""
    agent = _new_agent(world)
    thread = world.thread(agent)
    before = len(world.place.seen())
    body = {"thread_id": thread, "input": "yes", **({"agent_id": agent} if given else {})}
    world.client.patch(mode.route, json=body).raise_for_status()
    # Requests of other clients of the server are left out: those of this resume name its thread or its agent.
    made = [seen for seen in world.place.seen()[before:] if _names(seen, thread) or _names(seen, agent)]
    return [f"{seen['method']} {seen['path']}".replace(thread, "{thread}").replace(agent, "{agent}") for seen in made]


def _new_agent(world: World) -> str:
    """Create an agent that no other client uses, if the server has such agents, and return its id."""
    if world.driver.name not in GRAPHS:
        return "ask"
    config = {"configurable": {"of": os.urandom(8).hex()}}  # Aegra refuses a second assistant of the same configuration
    made = world.client.post("/assistants", json={"graph_id": "ask", "config": config})
    return str(made.raise_for_status().json()["assistant_id"])


def _names(seen: dict[str, Any], name: str) -> bool:
    return name in seen["path"] or name in json.dumps(seen["body"])


def fewest(world: World, mode: Mode, *, given: bool) -> list[str]:
    """Return the requests of the better of two resumes: a thread that settles late after a wait is looked up again."""
    return min((requests_of(world, mode, given=given) for _ in range(2)), key=len)


def available() -> list[str]:
    """Return the backends that the benchmark can start, and those whose address is in the environment."""
    return [
        name
        for name in BACKENDS
        if name in ("langgraph", "agent-protocol") or f"AP_TEST_{name.upper().replace('-', '_')}_URL" in os.environ
    ]


def main() -> None:
    """Count, and print; a figure over its goal is marked."""
    rows = []
    for backend in available():
        with place("wrapped", backend) as spot, World(spot, DRIVERS[backend]) as world:
            made = {form: fewest(world, form[0], given=form[1]) for form in FORMS}
        rows.append([backend, *(_cell(len(made[form]), goal(backend, form[0])) for form in FORMS)])
        for mode, given in FORMS:
            print(f"{backend}, {_name(mode, given)}: {', '.join(made[mode, given])}")
    head = ["backend", *(_name(*form) for form in FORMS)]
    show("Requests that reach the backend for one resume (in brackets: the goal, where it is missed)", head, rows)


def _name(mode: Mode, given: bool) -> str:
    return mode.name.lower() + (" + agent_id" if given else "")


def _cell(count: int, wanted: int) -> str:
    return str(count) if count <= wanted else f"{count} ({wanted})"
