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

from google.adk.agents import LlmAgent
from google.adk.agents.callback_context import CallbackContext
from google.adk.agents.context import Context
from google.adk.events.request_input import RequestInput
from google.adk.models.base_llm import BaseLlm
from google.adk.models.llm_request import LlmRequest
from google.adk.models.llm_response import LlmResponse
from google.adk.tools.function_tool import FunctionTool
from google.adk.tools.long_running_tool import LongRunningFunctionTool
from google.adk.tools.tool_context import ToolContext
from google.adk.workflow import START, Workflow
from google.genai import types

from tests.servers.apps.families.witness import note

INTERIM = {"status": "asked"}
"""What a tool returns that has asked. ADK keeps it under the id of the call, where the answer will come as well."""
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
                calls = [types.FunctionCall(name=start["tool"], args={"text": text, "ref": ref}) for text in together]
                yield response(*(types.Part(function_call=call) for call in calls))
                return
            asked += len(together)
        if scenario == "boom":
            note(ref, "failed", "boom")
            raise RuntimeError("boom")
        await asyncio.sleep(start["secs"])
        note(ref, "ended", answers)
        yield says(json.dumps(answers))


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
    asked = {call.id: call.args or {} for event in events for call in event.get_function_calls()}
    for result in events[-1].get_function_responses():
        if result.name == "question":
            note(asked[result.id]["ref"], "got", value(result))


def asking_agent(name: str) -> LlmAgent:
    """An agent for all scenarios, with either tool."""
    tools: list[Any] = [LongRunningFunctionTool(question), FunctionTool(deed)]
    return LlmAgent(name=name, model=Script(), tools=tools, before_model_callback=hear)


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
