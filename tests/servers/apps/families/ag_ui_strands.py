"""The scenarios as a Strands agent: a model that is a script calls a tool, which asks."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from typing import Any

from ag_ui_strands import StrandsAgent, StrandsAgentConfig, ToolBehavior, add_strands_fastapi_endpoint
from fastapi import FastAPI
from strands import Agent, ToolContext, tool
from strands.models.model import Model

from .ag_ui import Task

QUESTIONS = {"two": [["first"], ["second"]], "par": [["left", "right"]], "slow": [], "none": []}
"""What is asked in each turn of the model."""


class Script(Model):
    """Calls the tool for the questions of the scenario, then says that it is done."""

    def update_config(self, **_: Any) -> None:
        pass

    def get_config(self) -> dict[str, Any]:
        return {}

    async def structured_output(self, *_: Any, **__: Any) -> AsyncIterator[dict[str, Any]]:
        yield {}

    async def stream(self, messages: Any, *_: Any, **__: Any) -> AsyncIterator[dict[str, Any]]:
        begins = max((n for n, message in enumerate(messages) if _says(message)), default=0)
        messages = messages[begins:]
        task = Task.read(next((block["text"] for block in messages[0]["content"] if "text" in block), ""))
        answered = sum(any("toolResult" in block for block in message["content"]) for message in messages)
        turns = QUESTIONS.get(task.scenario, [["first"]])
        yield {"messageStart": {"role": "assistant"}}
        if answered < len(turns):
            for question in turns[answered]:
                for event in call("act" if task.scenario == "ask-approval" else "ask", question, task.ref):
                    yield event
            yield {"messageStop": {"stopReason": "tool_use"}}
            return
        if task.scenario == "ask-approval" and not task.has_answer:  # the tool did not run
            task.got({"approved": False})
        if task.scenario == "boom":
            task.fail()
        await asyncio.sleep(task.secs)
        yield {"contentBlockStart": {"start": {}}}
        yield {"contentBlockDelta": {"delta": {"text": "done"}}}
        yield {"contentBlockStop": {}}
        yield {"messageStop": {"stopReason": "end_turn"}}
        task.ended()


def _says(message: Any) -> bool:
    return message["role"] == "user" and any("text" in block for block in message["content"])


def call(name: str, question: str, ref: str) -> list[dict[str, Any]]:
    use = {"toolUseId": uuid.uuid4().hex, "name": name}
    arguments = json.dumps({"question": question, "ref": ref})
    return [
        {"contentBlockStart": {"start": {"toolUse": use}}},
        {"contentBlockDelta": {"delta": {"toolUse": {"input": arguments}}}},
        {"contentBlockStop": {}},
    ]


@tool(context=True)
def ask(question: str, ref: str, tool_context: ToolContext) -> str:
    """Ask a person."""
    task = Task("ask", ref)
    task.asks(question)
    # The adapter hands over {"response": answer}, so that a falsy answer is not taken for none.
    answer = tool_context.interrupt(question, reason={"question": question})["response"]
    task.got(answer)
    return json.dumps(answer)


@tool
def act(question: str, ref: str) -> str:
    """Runs when a person approves of it, which the adapter asks for."""
    Task("ask-approval", ref).got({"approved": True})
    return question


app = FastAPI()
agent = Agent(model=Script(), tools=[ask, act], callback_handler=None)
config = StrandsAgentConfig(tool_behaviors={"act": ToolBehavior(interrupt_on_call=True)})
add_strands_fastapi_endpoint(app, StrandsAgent(agent=agent, name="scenarios", description="asks", config=config), "/")
