"""The scenarios as a workflow: its executor asks by `request_info`, of the type that the answer must have."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from agent_framework import Executor, Workflow, WorkflowBuilder, WorkflowContext, handler, response_handler
from agent_framework.ag_ui import add_agent_framework_fastapi_endpoint
from agent_framework_ag_ui import AgentFrameworkWorkflow
from fastapi import FastAPI

from .ag_ui import Task


class Scenario(Executor):
    """One thread's scenario."""

    def __init__(self) -> None:
        super().__init__(id="scenario")
        self.task = Task.read("")
        self.left = 0

    @handler
    async def start(self, messages: list[Any], ctx: WorkflowContext[Any, str]) -> None:
        self.task = Task.read(messages[0].text)
        if self.task.scenario == "slow":
            await asyncio.sleep(self.task.secs)
            await self.end(ctx)
            return
        for question in ["left", "right"] if self.task.scenario == "par" else ["first"]:
            await self.ask(question, ctx)

    async def ask(self, question: str, ctx: WorkflowContext[Any, str]) -> None:
        self.left += 1
        self.task.asks(question)
        await ctx.request_info({"question": question}, TYPES.get(self.task.scenario, Any))

    @response_handler
    async def hear(self, question: dict, answer: Any, ctx: WorkflowContext[Any, str]) -> None:
        self.left -= 1
        self.task.got(answer)
        if self.task.scenario == "boom":
            self.task.fail()
        await asyncio.sleep(self.task.secs)
        await ctx.yield_output(f"{question['question']}: {json.dumps(answer)}")
        if self.task.scenario == "two" and question["question"] == "first":
            await self.ask("second", ctx)
        elif not self.left:
            await self.end(ctx)

    async def end(self, ctx: WorkflowContext[Any, str]) -> None:
        await ctx.yield_output("done")
        self.task.ended()


TYPES: dict[str, type] = {"ask-text": str, "ask-object": dict, "ask-yes": bool}


def workflow(_: str) -> Workflow:
    return WorkflowBuilder(start_executor=Scenario()).build()


app = FastAPI()
add_agent_framework_fastapi_endpoint(
    app, AgentFrameworkWorkflow(workflow_factory=workflow, name="scenarios"), "/", single_user=True
)
