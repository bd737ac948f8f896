"""A graph that asks several questions at once, round after round, and writes down what each of them heard.

The notes are in the server's store, which no fork of a thread and no edited state changes: `["rounds", thread]` has
`{at, kind, question, value}`, with the machine's monotonic clock and the id of the question's interrupt. An answer with
`fail` makes its step fail once. Runs on langgraph 0.6 and 1.x.
"""

import asyncio
import json
import time
import uuid
from typing import Any, TypedDict

from langchain_core.runnables import RunnableConfig
from langgraph.config import get_store
from langgraph.errors import GraphInterrupt
from langgraph.graph import END, START, StateGraph
from langgraph.types import Send, interrupt


class Rounds(TypedDict, total=False):
    rounds: list[int]
    number: int
    work: float


class Question(TypedDict):
    text: str
    work: float


def ask_all(state: Rounds) -> Any:
    """The questions of this round, or the end."""
    number = state.get("number", 0)
    if number >= len(state["rounds"]):
        return END
    return [
        Send("ask", {"text": f"{number}.{each}", "work": state.get("work", 0)})
        for each in range(state["rounds"][number])
    ]


_failed: set[str] = set()


async def ask(question: Question, config: RunnableConfig) -> dict[str, Any]:
    thread = config["configurable"]["thread_id"]
    where = config["configurable"]["checkpoint_ns"]
    try:
        answer = interrupt(question["text"])
    except GraphInterrupt as asked:
        id_ = asked.args[0][0].id
        await note(thread, where, "asked", id_, question["text"])
        raise
    fails = isinstance(answer, dict) and "fail" in answer and where not in _failed
    await note(thread, where, "failed" if fails else "heard", None, answer)
    await asyncio.sleep(question["work"])
    if fails:
        _failed.add(where)
        raise ValueError("failed after the answer")
    return {}


_ids: dict[str, str] = {}
"""The interrupt of each task, by its namespace."""


async def note(thread: str, where: str, kind: str, id_: str | None, value: Any) -> None:
    at = time.monotonic()
    if id_ is not None:
        _ids[where] = id_
    entry = {"at": at, "kind": kind, "question": _ids[where], "value": json.dumps(value)}
    await get_store().aput(("rounds", thread), str(uuid.uuid4()), entry)


async def go_on(state: Rounds) -> Rounds:
    return {"number": state.get("number", 0) + 1}


_graph = StateGraph(Rounds)
_graph.add_node("ask", ask)
_graph.add_node("go_on", go_on)
_graph.add_conditional_edges(START, ask_all, ["ask", END])
_graph.add_edge("ask", "go_on")
_graph.add_conditional_edges("go_on", ask_all, ["ask", END])
rounds = _graph.compile()
