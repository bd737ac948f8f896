"""The scenarios as a workflow on `/`, whose executor asks by `request_info` for an answer of a type; and as an agent on
`/agent`, a model that is a script, whose tool has to be approved."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Sequence
from typing import Any

from agent_framework import (
    Agent,
    BaseChatClient,
    ChatResponse,
    ChatResponseUpdate,
    Content,
    Executor,
    FunctionInvocationLayer,
    Message,
    ResponseStream,
    Workflow,
    WorkflowBuilder,
    WorkflowContext,
    handler,
    response_handler,
    tool,
)
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


class Script(FunctionInvocationLayer, BaseChatClient):
    """Calls the tool for the questions of the scenario, then says that it is done.

    It knows nothing but the messages that it is sent, which the server does not keep from one run to the next.
    """

    def _inner_get_response(self, *, messages: Sequence[Message], **_: Any) -> ResponseStream[Any, Any]:
        return ResponseStream(self._say(messages), finalizer=ChatResponse.from_updates)

    async def _say(self, messages: Sequence[Message]) -> AsyncIterator[ChatResponseUpdate]:
        task = Task.read(messages[0].text)
        turns = QUESTIONS.get(task.scenario, [["first"]])
        results = [content for message in messages for content in message.contents if content.type == "function_result"]
        for result in results:
            if "rejected" in str(result.result):
                task.got({"approved": False})
        answered = sum(any(c.type == "function_result" for c in message.contents) for message in messages)
        if answered < len(turns):
            yield ChatResponseUpdate(role="assistant", contents=[call(task, question) for question in turns[answered]])
            return
        if task.scenario == "boom":
            task.fail()
        await asyncio.sleep(task.secs)
        yield ChatResponseUpdate(role="assistant", contents=[Content.from_text("done")])
        task.ended()


QUESTIONS: dict[str, list[list[str]]] = {"two": [["first"], ["second"]], "par": [["left", "right"]], "slow": []}
"""What is asked in each turn of the model."""


def call(task: Task, question: str) -> Content:
    task.asks(question)
    arguments = json.dumps({"question": question, "ref": task.ref})
    return Content.from_function_call(call_id=uuid.uuid4().hex, name="ask", arguments=arguments)


@tool(approval_mode="always_require")
def ask(question: str, ref: str) -> str:
    """Runs when a person approves of it."""
    Task("ask", ref).got({"approved": True})
    return question


app = FastAPI()
add_agent_framework_fastapi_endpoint(
    app, AgentFrameworkWorkflow(workflow_factory=workflow, name="scenarios"), "/", single_user=True
)
add_agent_framework_fastapi_endpoint(app, Agent(client=Script(), tools=[ask]), "/agent", single_user=True)
