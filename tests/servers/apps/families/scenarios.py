"""The scenarios as one graph of LangGraph, for servers that load graphs."""

from __future__ import annotations

import time
from typing import Annotated, Any, TypedDict

from langgraph.graph import END, START, StateGraph
from langgraph.types import interrupt

from tests.servers.apps.families.witness import EVENTS, note


def _merged(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    return {**(old or {}), **(new or {})}


class State(TypedDict, total=False):
    scenario: str
    ref: str
    secs: float
    answers: Annotated[dict[str, Any], _merged]


FIRST = {"par": ["left", "right"], "slow": ["work"], "slowask": ["ask"]}


def first(state: State) -> list[str]:
    return FIRST.get(state["scenario"], ["ask"])


def _asks(question: str) -> Any:
    def node(state: State) -> dict[str, Any]:
        asked = {"ref": state["ref"], "event": "asked", "value": question}
        if asked not in EVENTS:  # LangGraph runs a node again when its question is answered
            note(**asked)
        answer = interrupt({"question": question})
        note(state["ref"], "got", answer)
        return {"answers": {question: answer}}

    return node


def work(state: State) -> dict[str, Any]:
    if state["scenario"] == "boom":
        note(state["ref"], "failed")
        raise RuntimeError("the agent broke")
    time.sleep(state["secs"] if state["scenario"].startswith("slow") else 0)
    return {}


def after(state: State) -> str:
    return "again" if state["scenario"] == "two" else "work"


def end(state: State) -> dict[str, Any]:
    note(state["ref"], "ended")
    return {}


def build(checkpointer: Any = None) -> Any:
    """The graph of every scenario."""
    graph = StateGraph(State)
    for question in ("ask", "again", "left", "right"):
        graph.add_node(question, _asks(question))
    graph.add_node("work", work)
    graph.add_node("end", end)
    graph.add_conditional_edges(START, first, ["ask", "left", "right", "work"])
    graph.add_conditional_edges("ask", after, ["again", "work"])
    graph.add_edge("again", "work")
    graph.add_edge(["left", "right"], "end")
    graph.add_edge("work", "end")
    graph.add_edge("end", END)
    return graph.compile(checkpointer=checkpointer)
