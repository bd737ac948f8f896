"""The scenarios as a graph: its nodes ask by `interrupt`."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from ag_ui_langgraph import LangGraphAgent, add_langgraph_fastapi_endpoint
from fastapi import FastAPI
from langchain_core.messages import AIMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import interrupt

from .ag_ui import Task

FIRST = {"par": ["left", "right"], "slow": ["work"], "none": ["end"]}


def task_of(state: MessagesState) -> Task:
    said = [str(message.content) for message in state["messages"] if message.type == "human"]
    return Task.read(said[-1] if said else "")


def first(state: MessagesState) -> list[str]:
    return FIRST.get(task_of(state).scenario, ["ask"])


MORE: dict[str, dict[str, Any]] = {
    "ask-typed": {"responseSchema": {"enum": ["red", "blue"]}},
    "ask-expired": {"expiresAt": "2026-01-01T00:00:00Z"},
}
"""What else a question says, by scenario; the adapter copies these keys into the outcome."""


def ask(task: Task, question: str) -> dict[str, Any]:
    task.asks(question)
    answer = interrupt({"question": question, **MORE.get(task.scenario, {})})
    task.got(answer)
    return {"messages": [AIMessage(f"{question}: {json.dumps(answer)}")]}


async def only(state: MessagesState) -> dict[str, Any]:
    task = task_of(state)
    answered = ask(task, "first")
    if task.scenario == "boom":
        task.fail()
    await asyncio.sleep(task.secs)
    return answered


async def again(state: MessagesState) -> dict[str, Any]:
    task = task_of(state)
    return ask(task, "second") if task.scenario == "two" else {}


async def left(state: MessagesState) -> dict[str, Any]:
    return ask(task_of(state), "left")


async def right(state: MessagesState) -> dict[str, Any]:
    return ask(task_of(state), "right")


async def work(state: MessagesState) -> None:
    await asyncio.sleep(task_of(state).secs)


async def end(state: MessagesState) -> None:
    task_of(state).ended()


def graph() -> Any:
    made = StateGraph(MessagesState)
    for name, node in {"ask": only, "again": again, "left": left, "right": right, "work": work}.items():
        made.add_node(name, node)
    made.add_node("end", end)
    made.add_conditional_edges(START, first, ["ask", "left", "right", "work", "end"])
    made.add_edge("ask", "again")
    made.add_edge("again", "end")
    made.add_edge(["left", "right"], "end")
    made.add_edge("work", "end")
    made.add_edge("end", END)
    return made.compile(checkpointer=InMemorySaver())


app = FastAPI()
add_langgraph_fastapi_endpoint(app, LangGraphAgent(name="scenarios", graph=graph()), "/")
add_langgraph_fastapi_endpoint(
    app, LangGraphAgent(name="scenarios", graph=graph(), emit_interrupt_outcome=True), "/outcome"
)
