"""A graph that asks two questions, one after the other."""

from typing import TypedDict

from langgraph.graph import StateGraph
from langgraph.types import interrupt


class State(TypedDict, total=False):
    release: str
    deployed: str
    deleted: str


def deploy(state: State) -> State:
    return {"deployed": interrupt({"question": f"Deploy release {state['release']}?"})}


def clean_up(state: State) -> State:
    return {"deleted": interrupt({"question": "Delete the backup of the old release?"})}


graph = StateGraph(State).add_sequence([deploy, clean_up]).set_entry_point("deploy").compile()
