"""The agents: small async functions that do some work, stop to ask a person, and continue with the answer.

The thread's values show what an agent did. `runs` counts how often it was started, so that a restart in place of a
resume is visible. The lists `answers`, `steps` and `done` grow with every piece of work.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any, Protocol
from uuid import uuid4


class Context(Protocol):
    """An agent's interface to its thread."""

    @property
    def state(self) -> dict[str, Any]:
        """The thread's values."""

    @property
    def config(self) -> dict[str, Any]:
        """The configuration of the current run, which is the one that brought the answer."""

    @property
    def metadata(self) -> dict[str, Any]:
        """The metadata of that run."""

    async def interrupt(self, question: Any) -> Any:
        """Ask a person, and wait for the answer."""

    async def breakpoint(self) -> None:
        """Stop without a question, until a run continues."""

    async def parallel(self, *branches: Coroutine[Any, Any, None]) -> None:
        """Run several branches concurrently; each may stop at a question."""

    def update(self, step: str, **changes: Any) -> None:
        """Change values, as the output of a step."""

    def emit(self, event: Any) -> None:
        """Send an event to the clients that stream the run, in mode `custom`."""


Agent = Callable[[Context], Coroutine[Any, Any, None]]


def _count_start(context: Context) -> None:
    context.update("start", runs=context.state.get("runs", 0) + 1)


def _append(context: Context, step: str, key: str, item: Any) -> None:
    context.update(step, **{key: [*context.state.get(key, []), item]})


async def ask(context: Context) -> None:
    """One question about `topic`; the answer becomes `answer`."""
    _count_start(context)
    answer = await context.interrupt({"question": f"approve {context.state.get('topic')}?"})
    context.update("approve", answer=answer)


async def two(context: Context) -> None:
    """Two questions, one after the other, `secs` seconds of work between them; `answer` holds both answers."""
    _count_start(context)
    first = await context.interrupt({"question": f"approve {context.state.get('topic')}?"})
    context.update("approve", answer=first)
    await asyncio.sleep(context.state.get("secs", 0))
    second = await context.interrupt({"question": f"really {context.state.get('topic')}?"})
    context.update("confirm", answer=[first, second])


async def par(context: Context) -> None:
    """Two questions at the same time; the answers become `a` and `b`."""

    async def branch(key: str) -> None:
        answer = await context.interrupt({"question": f"{key}?"})
        context.update(key, **{key: answer, "done": [*context.state.get("done", []), key]})

    await context.parallel(branch("a"), branch("b"))


async def slow(context: Context) -> None:
    """No question, `secs` seconds of work."""
    await asyncio.sleep(context.state.get("secs", 3))
    _append(context, "work", "answers", "worked")


async def slowask(context: Context) -> None:
    """One question, then `secs` seconds of work before the answer joins `answers`."""
    answer = await context.interrupt({"question": "go?"})
    await asyncio.sleep(context.state.get("secs", 3))
    _append(context, "work", "answers", answer)


async def errask(context: Context) -> None:
    """One question, then a failure."""
    answer = await context.interrupt({"question": "fail?"})
    raise ValueError(f"failed after the answer {answer!r}")


async def msgs(context: Context) -> None:
    """A conversation: the agent repeats the answer in a message."""
    answer = await context.interrupt({"action": "reply", "draft": "hi there"})
    message = {"role": "assistant", "content": f"answer: {json.dumps(answer)}", "id": uuid4().hex}
    _append(context, "reply", "messages", message)


async def steps(context: Context) -> None:
    """One question, then five custom events, 0.3 s apart."""
    context.update("begin", answer=await context.interrupt({"question": "begin?"}))
    for number in range(1, 6):
        await asyncio.sleep(0.3)
        context.emit({"step": number})
        _append(context, f"step{number}", "steps", number)


async def brk(context: Context) -> None:
    """A breakpoint between two steps, without a question."""
    _append(context, "first", "answers", "first")
    await context.breakpoint()
    _append(context, "second", "answers", "second")


async def echo(context: Context) -> None:
    """One question; the values contain the answer exactly as it arrived."""
    answer = await context.interrupt({"question": "what?"})
    context.update("echo", got=answer, json=json.dumps(answer))


async def cfg(context: Context) -> None:
    """One question; the values show the configuration and the metadata of the run that brought the answer."""
    await context.interrupt({"question": "look?"})
    seen = {key: context.config.get(key) for key in ("configurable", "tags", "recursion_limit")}
    context.update("look", seen={**seen, "metadata": context.metadata})


async def deploy(context: Context) -> None:
    """Deploys a release to production if the answer is yes, true, approve or {"approved": true}."""
    _count_start(context)
    release = context.state.get("release", "4.2")
    context.update("prepare", release=release, log=[f"release {release} built, 1312 tests passed"])
    answer = await context.interrupt(
        {
            "question": f"Deploy release {release} to production?",
            "changes": ["invoices in Swiss francs", "a new column in table `orders`"],
            "options": ["approve", "reject"],
        }
    )
    approved = answer.get("approved") if isinstance(answer, dict) else answer
    if approved is not True and approved not in ("yes", "approve"):
        _append(context, "stop", "log", "rejected, nothing was touched")
        return
    for step, line in {
        "migrate": "table `orders` migrated",
        "canary": "5 % of the traffic on the new release, no errors",
        "rollout": "100 % of the traffic on the new release",
    }.items():
        context.emit({"starting": step})
        await asyncio.sleep(0.4)
        _append(context, step, "log", line)
    context.update("finish", production=release)


async def mail(context: Context) -> None:
    """Asks for the approval of a tool call, in the shape of LangChain's human-in-the-loop middleware."""
    _count_start(context)
    call = {"name": "send_email", "args": {"to": "ann@example.org", "subject": "Your refund"}}
    review = {"action_name": "send_email", "allowed_decisions": ["approve", "reject"]}
    answer = await context.interrupt({"action_requests": [call], "review_configs": [review]})
    if answer == {"decisions": [{"type": "approve"}]}:
        _append(context, "send", "sent", call["args"])


AGENTS: dict[str, Agent] = {
    agent.__name__: agent for agent in (deploy, ask, two, par, slow, slowask, errask, msgs, steps, brk, echo, cfg, mail)
}
"""Every agent by its id; the first one is the default."""


def describe(agent_id: str) -> dict[str, Any]:
    """Return the protocol's `Agent`."""
    return {
        "agent_id": agent_id,
        "name": agent_id,
        "description": AGENTS[agent_id].__doc__,
        "metadata": {},
        "capabilities": {"ap.io.messages": agent_id == "msgs", "ap.io.streaming": True},
    }
