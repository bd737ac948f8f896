"""Small graphs that pause for a person; `../js/graph.mjs` has the same ones under the same names.

Everything a resumed node does shows in the thread's state: `runs` counts how often a gate completed, the lists
`answers`, `done` and `steps` grow by one entry for each completed piece of work. A test that wants to know
whether an answer was used twice reads the state, never a file.

Runs on langgraph 0.6 and 1.x. No `from __future__ import annotations` here: LangGraph reads the annotations.
"""

import asyncio
import json
import operator
from inspect import signature
from typing import Annotated, Any, Literal, TypedDict

from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableConfig
from langgraph.config import get_stream_writer
from langgraph.errors import GraphInterrupt, NodeInterrupt
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Interrupt, interrupt
from pydantic import BaseModel, Field


def chain(schema: type, /, **nodes: Any) -> StateGraph:
    """A graph that runs its nodes one after the other."""
    graph = StateGraph(schema)
    names = list(nodes)
    for name, node in nodes.items():
        graph.add_node(name, node)
    for before, after in zip([START, *names], [*names, END], strict=True):
        graph.add_edge(before, after)
    return graph


def side_by_side(schema: type, /, **nodes: Any) -> StateGraph:
    """A graph that runs its nodes at the same time."""
    graph = StateGraph(schema)
    for name, node in nodes.items():
        graph.add_node(name, node)
        graph.add_edge(START, name)
        graph.add_edge(name, END)
    return graph


# --- ask, two, sub: one question, two in a row, one inside a subgraph -----------------------------------------


class Approval(TypedDict, total=False):
    topic: str
    answer: Any
    runs: int
    secs: float


async def approve(state: Approval) -> Approval:
    answer = interrupt({"question": f"approve {state.get('topic')}?"})
    await asyncio.sleep(state.get("secs", 0))
    return {"answer": answer, "runs": state.get("runs", 0) + 1}


def confirm(state: Approval) -> Approval:
    answer = interrupt({"question": f"really {state.get('topic')}?"})
    return {"answer": [state.get("answer"), answer], "runs": state.get("runs", 0) + 1}


ask = chain(Approval, approve=approve).compile()
two = chain(Approval, approve=approve, confirm=confirm).compile()
sub = chain(Approval, inner=ask).compile()


# --- par: two questions at the same time ----------------------------------------------------------------------


class Pair(TypedDict, total=False):
    a: Any
    b: Any
    done: Annotated[list, operator.add]


def left(state: Pair) -> Pair:
    return {"a": interrupt({"question": "a?"}), "done": ["a"]}


def right(state: Pair) -> Pair:
    return {"b": interrupt({"question": "b?"}), "done": ["b"]}


par = side_by_side(Pair, left=left, right=right).compile()


# --- slow, slowask, twoinone, brk, errask, flakyask: work that takes time, breaks off or fails ------------------


class Work(TypedDict, total=False):
    secs: float
    tag: str
    answers: Annotated[list, operator.add]


async def work(state: Work) -> Work:
    await asyncio.sleep(state.get("secs", 3))
    return {"answers": ["worked"]}


async def ask_then_work(state: Work) -> Work:
    answer = interrupt({"question": "go?"})
    await asyncio.sleep(state.get("secs", 3))
    return {"answers": [answer]}


def ask_twice(state: Work) -> Work:
    return {"answers": [interrupt({"question": "first?"}), interrupt({"question": "second?"})]}


def first(state: Work) -> Work:
    return {"answers": ["first"]}


def second(state: Work) -> Work:
    return {"answers": ["second"]}


def ask_then_fail(state: Work) -> Work:
    raise ValueError(f"failed after the answer {interrupt({'question': 'fail?'})!r}")


_failed_once: set[str] = set()


def ask_then_fail_once(state: Work) -> Work:
    """Fails on the first resume of each `tag` that this process sees, works from then on."""
    answer = interrupt({"question": "try?"})
    tag = state.get("tag", "")
    if tag not in _failed_once:
        _failed_once.add(tag)
        raise ValueError(f"failed once after the answer {answer!r}")
    return {"answers": [answer]}


slow = chain(Work, work=work).compile()
slowask = chain(Work, ask=ask_then_work).compile()
twoinone = chain(Work, ask=ask_twice).compile()
brk = chain(Work, first=first, second=second).compile(interrupt_before=["second"])
errask = chain(Work, ask=ask_then_fail).compile()
flakyask = chain(Work, ask=ask_then_fail_once).compile()


# --- noid, noids, byhand, beside, half: questions that nothing can answer, failures beside a question --------------


_attempts: dict[tuple[str, str], int] = {}


def attempt(node: str, state: Work) -> int:
    """How often this process has run a node for the state's `tag`, this time included."""
    key = node, state.get("tag", "")
    _attempts[key] = _attempts.get(key, 0) + 1
    return _attempts[key]


def ask_without_id(state: Work) -> Work:
    """Stops once with a question that has no id, and asks a real one when it runs again."""
    if attempt("noid", state) == 1:
        raise NodeInterrupt({"question": "continue?"})
    return {"answers": [interrupt({"question": "really?"})]}


def ask_by_hand(state: Work) -> Work:
    if attempt("byhand", state) == 1:
        raise GraphInterrupt([Interrupt({"question": "continue?"}, id="mine")])
    return {"answers": [interrupt({"question": "really?"})]}


def stop_once(node: str) -> Any:
    def stop(state: Work) -> Work:
        if attempt(node, state) == 1:
            raise NodeInterrupt({"question": f"{node}?"})
        return {"answers": [node]}

    return stop


def ask_beside(state: Work) -> Work:
    return {"answers": [interrupt({"question": "beside?"})]}


async def fail_twice(state: Work) -> Work:
    await asyncio.sleep(0.3)
    if attempt("beside", state) <= 2:
        raise ValueError("failed beside the question")
    return {"answers": ["worked"]}


noid = chain(Work, ask=ask_without_id).compile()
byhand = chain(Work, ask=ask_by_hand).compile()
noids = side_by_side(Work, left=stop_once("left"), right=stop_once("right")).compile()
beside = side_by_side(Work, ask=ask_beside, work=fail_twice).compile()
half = side_by_side(Work, ask=ask_beside, fail=ask_then_fail).compile()


# --- typed, schema: questions that say what an answer looks like (nothing on langgraph before 1.2.12) --------------


class Choice(BaseModel):
    decision: Literal["pay", "keep"]
    amount: float = 0


class Echo(TypedDict, total=False):
    got: Any
    type: str
    json: str


def ask_with(response_schema: Any) -> Any:
    """A node that asks for an answer of that shape, and fails when `amount` is 13 only after it was answered."""

    def ask(state: Echo) -> Echo:
        options = {"response_schema": response_schema} if "response_schema" in signature(interrupt).parameters else {}
        answer = interrupt({"question": "pay?"}, **options)
        answer = answer.model_dump() if isinstance(answer, BaseModel) else answer
        if isinstance(answer, dict) and answer.get("amount") == 13:
            raise ValueError("failed after the answer")
        return {"got": answer}

    return ask


class Asked(TypedDict, total=False):
    value: Any
    schema: Any
    got: Any


def ask_as_given(state: Asked) -> Asked:
    """Ask the question that the input holds."""
    known = "schema" in state and "response_schema" in signature(interrupt).parameters
    return {"got": interrupt(state["value"], **({"response_schema": state["schema"]} if known else {}))}


asked = chain(Asked, ask=ask_as_given).compile()
typed = chain(Echo, ask=ask_with(Choice)).compile()
schema = chain(Echo, ask=ask_with(Choice.model_json_schema())).compile()


# --- kinds: one question of each kind that a person may see, which `kind` selects --------------------------------


class Kinds(TypedDict, total=False):
    kind: str
    got: Any


class Payment(BaseModel):
    decision: Literal["pay", "keep"]
    amount: float = Field(gt=0, le=1000)
    note: str | None = None


QUESTIONS = {
    "text": ("What is your name?", None),
    "confirm": ("Really?", bool),
    "choice": ("Which colour?", Literal["red", "blue"]),
    "form": ({"question": "Pay the invoice?", "invoice": "2026-1187"}, Payment),
    "any": ({"question": "Go on?", "plan": ["search", "write"]}, None),
    "inbox": (
        [
            {
                "action_request": {"action": "send", "args": {"to": "ann@example.org"}},
                "config": {"allow_ignore": True, "allow_respond": True, "allow_edit": True, "allow_accept": True},
                "description": "Send a mail",
            }
        ],
        None,
    ),
}


def ask_kind(state: Kinds) -> Kinds:
    value, schema = QUESTIONS[state["kind"]]
    answer = interrupt(value, response_schema=schema) if schema else interrupt(value)
    return {"got": answer.model_dump() if isinstance(answer, BaseModel) else answer}


kinds = chain(Kinds, ask=ask_kind).compile()


# --- msgs: a conversation -------------------------------------------------------------------------------------


def draft(state: MessagesState) -> MessagesState:
    answer = interrupt({"action": "reply", "draft": "hi there"})
    return {"messages": [AIMessage(content=f"answer: {json.dumps(answer)}", id="ai-final")]}


msgs = chain(MessagesState, draft=draft).compile()


# --- steps: five events, 0.3 s apart --------------------------------------------------------------------------


class Steps(TypedDict, total=False):
    answer: Any
    steps: Annotated[list, operator.add]


def begin(state: Steps) -> Steps:
    return {"answer": interrupt({"question": "begin?"})}


def step(number: int) -> Any:
    """A node that takes 0.3 s and announces itself as a custom stream event."""

    async def take(state: Steps) -> Steps:
        await asyncio.sleep(0.3)
        get_stream_writer()({"step": number})
        return {"steps": [number]}

    return take


steps = chain(Steps, begin=begin, **{f"step{number}": step(number) for number in range(1, 6)}).compile()


# --- echo, cfg: what exactly arrived --------------------------------------------------------------------------


def echo_answer(state: Echo) -> Echo:
    answer = interrupt({"question": "what?"})
    return {"got": answer, "type": type(answer).__name__, "json": json.dumps(answer)}


class Seen(TypedDict, total=False):
    answer: Any
    seen: dict


CONFIGURABLE = {"flavour", "colour"}
"""What tests may put into `config.configurable`; the servers add much of their own."""
METADATA_PREFIX = "test_"
"""How the keys begin that tests may put into a run's metadata."""


def look(state: Seen, config: RunnableConfig) -> Seen:
    answer = interrupt({"question": "look?"})
    seen = {
        "configurable": {k: v for k, v in config.get("configurable", {}).items() if k in CONFIGURABLE},
        "metadata": {k: v for k, v in config.get("metadata", {}).items() if k.startswith(METADATA_PREFIX)},
        "tags": list(config.get("tags") or []),
        "recursion_limit": config.get("recursion_limit"),
    }
    return {"answer": answer, "seen": seen}


echo = chain(Echo, echo=echo_answer).compile()
cfg = chain(Seen, look=look).compile()
