"""The cases: how a thread comes about, and the one resume of it that is recorded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ap_resume_shim.core.protocol import Mode
from tests.recordings import BACKENDS

Body = dict[str, Any]

BACKGROUND, WAIT, STREAM = Mode
GRAPHS = BACKENDS[:-1]
"""The servers of LangGraph's family."""
YES: Body = {"input": "yes"}
FIRST: Body = {"input": "first"}
NOBODY = "6a1b2c3d-0000-4000-8000-000000000000"
"""An id that nothing has."""


@dataclass(frozen=True)
class Case:
    """One case, recorded in each of its modes.

    Some texts in `body` stand for what is known later: `<first>` and `<second>` are the ids of the pending interrupts
    in the order of their questions, `<id of ask>` is the id of the agent `ask`, `<new>` an id never used before.
    """

    name: str
    body: Body = field(default_factory=lambda: YES)
    modes: tuple[Mode, ...] = (WAIT,)
    agent: str | None = "ask"
    """Who runs in the thread before anything else; None: nobody does."""
    state: Body = field(default_factory=dict)
    settles: bool = True
    """Whether that run is waited for."""
    earlier: tuple[Body, ...] = ()
    """Resumes that were waited for before the one that is recorded."""
    cancelled: Body | None = None
    """A resume whose run is cancelled."""
    headers: dict[str, str] = field(default_factory=dict)
    settle: float = 1.0
    late: bool = False
    """Whether the server's stream is held back until the shim does not wait for its first event any more."""
    on: tuple[str, ...] = BACKENDS

    def file_name(self, mode: Mode) -> str:
        """The recording's name."""
        return f"{self.name}-{mode.name.lower()}"


def all_of(backend: str) -> Iterator[tuple[Case, Mode]]:
    """What there is to record on a backend."""
    return ((case, mode) for case in CASES if backend in case.on for mode in case.modes)


REFUSED = (BACKGROUND,)  # what is refused before anything is sent is the same in every mode
LIVE = (WAIT, STREAM)
ALL = tuple(Mode)

CASES = (
    # Verdicts
    Case("interrupted", modes=ALL),
    Case("asks-again", FIRST, ALL, agent="two"),
    Case("asked-again", {"input": "second"}, agent="two", earlier=(FIRST,)),
    Case("idle", modes=REFUSED, earlier=(YES,)),
    Case("never-run", modes=REFUSED, agent=None),
    Case("thread-unknown", {"thread_id": NOBODY, **YES}, REFUSED, agent=None),
    Case("thread-malformed", {"thread_id": "not-a-uuid", **YES}, REFUSED, agent=None),
    Case("busy", modes=REFUSED, agent="slow", state={"secs": 3}, settles=False, settle=0.2),
    Case("breakpoint", {}, ALL, agent="brk"),
    Case("breakpoint-answered", modes=REFUSED, agent="brk"),
    Case("subgraph", modes=LIVE, agent="sub", on=GRAPHS),
    Case("go-on", {}, LIVE),
    # Several questions
    Case("parallel-bare-value", modes=REFUSED, agent="par"),
    Case("parallel-whole-map", {"input": {"<first>": "A", "<second>": None}}, LIVE, agent="par"),
    Case("parallel-half-a-map", {"input": {"<second>": "B"}}, ALL, agent="par"),
    Case("parallel-other-half", {"input": "A"}, LIVE, agent="par", earlier=({"input": {"<second>": "B"}},)),
    Case("parallel-unknown-id", {"input": {"<first>": 1, "x": 2}}, REFUSED, agent="par"),
    Case("parallel-pinned", {"input": "A", "interrupt_id": "<first>"}, agent="par"),
    Case("parallel-pinned-by-header", {"input": "A"}, agent="par", headers={"ap-interrupt-id": "<first>"}),
    Case("pinned-to-none", {"input": "A", "interrupt_id": "x"}, REFUSED),
    # Failures and cancellations
    Case("fails", {"input": "boom"}, ALL, agent="errask"),
    Case("failed-answered-again", {"input": "second"}, REFUSED, agent="errask", earlier=(FIRST,)),
    Case("failed-retried", {}, ALL, agent="flakyask", state={"tag": "<new>"}, earlier=(FIRST,), on=GRAPHS),
    Case("failed-fails-again", {}, agent="errask", earlier=(FIRST,), on=GRAPHS),
    Case("question-without-id", {}, LIVE, agent="noid", state={"tag": "<new>"}, on=GRAPHS),
    Case("question-without-id-answered", modes=REFUSED, agent="noid", state={"tag": "<new>"}, on=GRAPHS),
    Case("questions-without-id", {}, agent="noids", state={"tag": "<new>"}, on=GRAPHS),
    Case("typed-wrong", {"input": {"decision": "no"}}, REFUSED, agent="typed", on=("langgraph", "langgraph-js")),
    Case("cancelled", {"input": "second"}, LIVE, agent="slowask", state={"secs": 1}, cancelled=FIRST),
    # Agents
    Case("agent-by-name", {**YES, "agent_id": "ask"}, LIVE),
    Case("agent-by-id", {**YES, "agent_id": "<id of ask>"}),
    Case("agent-unknown-name", {**YES, "agent_id": "nobody"}, REFUSED),
    Case("agent-unknown-id", {**YES, "agent_id": NOBODY}, REFUSED),
    Case("agent-of-another-graph", {**YES, "agent_id": "two"}, REFUSED, on=GRAPHS),
    # Answers
    Case("answer-null", {"input": None}, agent="echo"),
    Case("answer-false", {"input": False}, agent="echo"),
    Case("answer-empty-object", {"input": {}}, agent="echo"),
    Case("answer-like-an-id", {"input": {"0" * 32: "looks like an interrupt id"}}, agent="echo"),
    Case("answer-of-all-kinds", {"input": [None, True, 0, -1.5, "Grüße 🎈\n", [], {"a": {}}]}, LIVE, agent="echo"),
    Case("answer-large-integer", {"input": 2**64}, agent="echo"),
    Case("answer-with-nul", {"input": "a\0b"}, agent="echo"),
    # Messages
    Case("messages", {"messages": [{"role": "user", "content": "yes", "id": "m1"}]}, agent="echo"),
    Case("messages-and-input", {**YES, "messages": [{"role": "user", "content": "no"}]}, REFUSED),
    Case("conversation", agent="msgs"),
    Case("conversation-streamed", {**YES, "stream_mode": "messages"}, (STREAM,), agent="msgs"),
    # Other fields
    Case(
        "metadata-and-config",
        {
            "input": "look",
            "metadata": {"ticket": "T-1"},
            "config": {"tags": ["red"], "recursion_limit": 7, "configurable": {"flavour": "mint"}},
        },
        ALL,
        agent="cfg",
    ),
    Case("stream-modes", {**YES, "stream_mode": ["values", "updates"]}, (STREAM,)),
    Case("stream-late", modes=(STREAM,), late=True),
    Case("stream-custom", {**YES, "stream_mode": "custom"}, (STREAM,), agent="steps"),
    Case("deleted-on-completion", {**YES, "on_completion": "delete"}, ALL),
    Case("deleted-not-while-it-asks", {**FIRST, "on_completion": "delete"}, agent="two"),
    Case("webhook", {**YES, "webhook": "https://hooks.example/done"}, REFUSED, on=("aegra",)),
    Case("field-of-the-shim", {**YES, "checkpoint": {}}, REFUSED),
    Case("field-that-redirects", {**YES, "config": {"configurable": {"checkpoint_id": NOBODY}}}, REFUSED, on=GRAPHS),
    Case("field-the-server-refuses", {**YES, "stream_subgraphs": "x"}, on=GRAPHS),
    Case("field-unknown", {**YES, "x_unknown": {"a": 1}}, (BACKGROUND,)),
)
