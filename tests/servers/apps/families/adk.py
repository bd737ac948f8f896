"""The scenarios as ADK agents: a model that is a script, with the tools by which it asks, and a workflow.

The user's first message is JSON text, `{"scenario", "ref", "secs", "tool"}`. ADK asks by calling a function that runs
long, in three ways: a tool of the agent's own (`question`), a tool that wants to be confirmed (`deed`), and a node of
a workflow that requests input.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

from google.adk.agents import LlmAgent, ParallelAgent
from google.adk.agents.callback_context import CallbackContext
from google.adk.agents.context import Context
from google.adk.events.request_input import RequestInput
from google.adk.models.base_llm import BaseLlm
from google.adk.models.llm_request import LlmRequest
from google.adk.models.llm_response import LlmResponse
from google.adk.tools import request_input
from google.adk.tools.function_tool import FunctionTool
from google.adk.tools.long_running_tool import LongRunningFunctionTool
from google.adk.tools.tool_context import ToolContext
from google.adk.workflow import START, FunctionNode, JoinNode, Workflow
from google.genai import types

from tests.servers.apps.families.witness import note

INTERIM = {"status": "asked"}
"""What a tool returns that has asked. ADK keeps it under the id of the call, where the answer will come as well."""
START_TEXT = '{"scenario"'
"""How the user's message begins that starts a scenario: a session may have several, one after the other."""
REQUEST_INPUT = "adk_request_input"
"""ADK's own tool that asks a person."""
QUESTIONS = {"slow": [], "two": [["First?"], ["Second?"]], "par": [["First?", "Second?"]]}
"""What is asked one after the other, and what at once."""


def question(text: str, ref: str) -> dict[str, Any]:
    """Ask a person, whose answer is the tool's result, some time."""
    note(ref, "asked", text)
    return INTERIM


def deed(text: str, ref: str, tool_context: ToolContext) -> dict[str, Any]:
    """Do what a person has to confirm."""
    confirmation = tool_context.tool_confirmation
    if confirmation is None:
        note(ref, "asked", text)
        tool_context.request_confirmation(hint=text)
        tool_context.actions.skip_summarization = True
        return INTERIM
    note(ref, "got", confirmation.confirmed if confirmation.payload is None else confirmation.model_dump())
    return {"done": confirmation.confirmed}


class Script(BaseLlm):
    """The model: what it says follows from what it is told."""

    model: str = "script"

    async def generate_content_async(
        self, llm_request: LlmRequest, stream: bool = False
    ) -> AsyncGenerator[LlmResponse, None]:
        told = [part for content in llm_request.contents for part in content.parts or []]
        begins = max(index for index, part in enumerate(told) if (part.text or "").startswith(START_TEXT))
        told = told[begins:]
        start = json.loads(told[0].text or "")
        ref, scenario = start["ref"], start["scenario"]
        results = [part.function_response for part in told if part.function_response]
        answers = [value(result) for result in results if result.response != INTERIM]
        if len(answers) < len(results):
            yield says("Please answer.")
            return
        asked = 0
        for together in QUESTIONS.get(scenario, [["Go on?"]]):
            if asked == len(answers):
                tools = start["tool"].split("+") * len(together)
                calls = [call(tool, text, ref) for tool, text in zip(tools, together, strict=False)]
                yield response(*(types.Part(function_call=each) for each in calls))
                return
            asked += len(together)
        if scenario == "boom":
            note(ref, "failed", "boom")
            raise RuntimeError("boom")
        await asyncio.sleep(start["secs"])
        note(ref, "ended", answers)
        yield says(json.dumps(answers))


def call(tool: str, text: str, ref: str) -> types.FunctionCall:
    """A call of the tool by which the agent asks."""
    if tool == REQUEST_INPUT:
        return types.FunctionCall(name=tool, args={"message": text})
    return types.FunctionCall(name=tool, args={"text": text, "ref": ref})


def response(*parts: types.Part) -> LlmResponse:
    return LlmResponse(content=types.Content(role="model", parts=list(parts)))


def says(text: str) -> LlmResponse:
    return response(types.Part(text=text))


def value(result: types.FunctionResponse) -> Any:
    """A tool's result. What is no object, ADK itself hands to the model in one, as `result`."""
    held = result.response or {}
    return held["result"] if held.keys() == {"result"} else held


def hear(callback_context: CallbackContext, llm_request: LlmRequest) -> None:
    """Note the answers that came just now, as code of the agent's own finds them."""
    events = callback_context.session.events
    if events[-1].author != "user":
        return
    texts = (part.text or "" for event in events if event.content for part in event.content.parts or ())
    start = json.loads([text for text in texts if text.startswith(START_TEXT)][-1])
    for result in events[-1].get_function_responses():
        if result.name in ("question", REQUEST_INPUT):
            note(start["ref"], "got", value(result))


def asking_agent(name: str) -> LlmAgent:
    """An agent for all scenarios, with either tool."""
    tools: list[Any] = [LongRunningFunctionTool(question), FunctionTool(deed), request_input]
    return LlmAgent(name=name, model=Script(), tools=tools, before_model_callback=hear)


def asking_branches(name: str) -> ParallelAgent:
    """Two agents that ask side by side, each in a branch of its own."""
    return ParallelAgent(name=name, sub_agents=[asking_agent("left"), asking_agent("right")])


async def request(ctx: Context, node_input: types.Content) -> AsyncIterator[RequestInput]:
    """Ask; of `ask-number`, the workflow itself checks the answer."""
    start = json.loads((node_input.parts or [])[0].text or "")
    ctx.state["ref"] = start["ref"]
    note(start["ref"], "asked", "Go on?")
    yield RequestInput(message="Go on?", response_schema=int if start["scenario"] == "ask-number" else None)


async def receive(ctx: Context, node_input: Any) -> str:
    """Its input is the answer."""
    note(ctx.state["ref"], "got", node_input)
    note(ctx.state["ref"], "ended", node_input)
    return json.dumps(node_input)


def asking_workflow(name: str) -> Workflow:
    """A workflow of two nodes: one asks, the other gets the answer."""
    return Workflow(name=name, edges=[(START, request, receive)])


def asking_node(name: str) -> Any:
    """A node of a workflow that asks its own question and passes the answer on."""

    async def request(ctx: Context, node_input: types.Content) -> AsyncIterator[RequestInput]:
        start = json.loads((node_input.parts or [])[0].text or "")
        ctx.state["ref"] = start["ref"]
        note(start["ref"], "asked", name)
        yield RequestInput(message=name)

    return FunctionNode(func=request, name=name)


async def receive_all(ctx: Context, node_input: Any) -> str:
    """Its input is the answers, by the nodes that asked."""
    for answer in node_input.values():
        note(ctx.state["ref"], "got", answer)
    note(ctx.state["ref"], "ended", node_input)
    return json.dumps(node_input)


def asking_fork(name: str) -> Workflow:
    """A workflow of two nodes that ask side by side, and one that gets both answers."""
    nodes, join = [asking_node("left"), asking_node("right")], JoinNode(name="both")
    edges = [*((START, node, join) for node in nodes), (join, receive_all)]
    return Workflow(name=name, edges=edges)
