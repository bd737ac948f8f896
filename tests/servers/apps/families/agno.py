"""An agent, a team and workflows that stop and ask, on AgentOS.

The model is a table: what it asks for depends on the scenario, which the first message names, and on how many times
it has asked. All of an answer that reaches a tool, a step or the model is noted for the tests as it arrived.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from agno.agent import Agent
from agno.db.sqlite import SqliteDb
from agno.models.base import Model
from agno.models.message import Message
from agno.models.response import ModelResponse
from agno.os import AgentOS
from agno.team import Team
from agno.tools import tool
from agno.tools.user_feedback import UserFeedbackTools
from agno.workflow import Step, Workflow
from agno.workflow.router import Router
from agno.workflow.types import HumanReview, StepInput, StepOutput

from tests.servers.apps.families.witness import App, note

REJECTED = "Function call was rejected by the user"
"""What the model is told of a confirmation that was denied without a note."""
DELIVERED = "User feedback received: "
"""What stands before the answers to `ask_user`, in the message to the model."""

# --- the tools --------------------------------------------------------------------------------------------------


@tool(requires_confirmation=True)
async def approve(ref: str, secs: float) -> str:
    """Runs after a confirmation only."""
    note(ref, "got", True)
    await asyncio.sleep(secs)
    return "approved"


@tool(
    requires_user_input=True, user_input_fields=["text", "count", "ratio", "flag", "items", "data", "maybe", "whatever"]
)
def fill(
    ref: str,
    text: str = "",
    count: int = 0,
    ratio: float = 0.0,
    flag: bool = False,
    items: list = [],  # noqa: B006
    data: dict = {},  # noqa: B006
    maybe: str | None = None,
    whatever: Any = None,
) -> str:
    """Takes a form with a field of every type."""
    got = {
        "text": text,
        "count": count,
        "ratio": ratio,
        "flag": flag,
        "items": items,
        "data": data,
        "maybe": maybe,
        "whatever": whatever,
    }
    note(ref, "got", got)
    return "filled"


@tool(requires_user_input=True, user_input_fields=["n"])
def count(ref: str, n: int) -> str:
    """Takes a form with one field."""
    note(ref, "got", {"n": n})
    return "counted"


@tool(external_execution=True)
def fetch(ref: str) -> str:
    """Runs elsewhere: its result is the answer."""
    return ""


@tool
async def work(ref: str, secs: float) -> str:
    """Asks nothing and takes its time."""
    await asyncio.sleep(secs)
    return "worked"


# --- the model --------------------------------------------------------------------------------------------------

Call = tuple[str, dict[str, Any]]
QUESTION = {"question": "Which?", "header": "Which", "options": [{"label": "red"}, {"label": "blue"}]}


def rounds(scenario: str, ref: str, secs: float) -> list[list[Call]]:
    """The tools that the model calls, one list for each time that it is asked; then it has finished."""
    ask: Call = ("approve", {"ref": ref, "secs": secs})
    return {
        "ask": [[ask]],
        "ask-leader": [[ask]],
        "ask-agent": [[ask]],
        "ask-input": [[("count", {"ref": ref})]],
        "ask-form": [[("fill", {"ref": ref})]],
        "ask-external": [[("fetch", {"ref": ref})]],
        "ask-feedback": [[("ask_user", {"questions": [QUESTION]})]],
        "two": [[ask], [ask]],
        "par": [[ask, ask]],
        "slow": [[("work", {"ref": ref, "secs": secs})]],
        "slowask": [[ask]],
        "boom": [[ask]],
    }[scenario]


@dataclass
class Table(Model):
    """A model without a network. `delegates` makes it a team's leader, which passes all but its own question on."""

    id: str = "table"
    delegates: bool = False

    def next(self, messages: list[Message]) -> ModelResponse:
        given = next(json.loads(str(message.content)) for message in messages if message.role == "user")
        scenario, ref, secs = given["scenario"], given["ref"], given["secs"]
        turns = [message for message in messages if message.role == "assistant" and message.tool_calls]
        passes_on = self.delegates and scenario != "ask-leader"
        if passes_on:
            task = {**given, "member": True, "scenario": "ask" if scenario == "boom" else scenario}
            table = [[("delegate_task_to_member", {"member_id": "helper", "task": json.dumps(task)})]]
        else:
            table = rounds(scenario, ref, secs)
            if turns:
                self.hear(ref, messages[messages.index(turns[-1]) + 1 :])
        if len(turns) < len(table):
            if not passes_on and scenario != "slow":
                note(ref, "asked")
            return ModelResponse(
                role="assistant", content="", tool_calls=[self.call(*each) for each in table[len(turns)]]
            )
        if scenario == "boom":  # in a team it is the leader: to him a member's failure is an answer like another
            note(ref, "failed")
            raise RuntimeError("boom: the model failed after the answer")
        if "member" not in given:
            note(ref, "ended")
        return ModelResponse(role="assistant", content=f"finished {scenario}")

    def hear(self, ref: str, results: list[Message]) -> None:
        """The answers that no tool hears: rejections, and results of what ran elsewhere."""
        for message in results:
            if message.role != "tool":
                continue
            if message.tool_name == "approve" and message.tool_call_error:
                told = str(message.content)
                note(ref, "got", False if told == REJECTED else {"confirmed": False, "confirmation_note": told})
            if message.tool_name == "fetch":
                note(ref, "got", message.content)
            if message.tool_name == "ask_user":
                told = json.loads(str(message.content).removeprefix(DELIVERED))
                note(ref, "got", {answer["question"]: answer["selected"] for answer in told})

    def call(self, function: str, arguments: dict[str, Any]) -> dict[str, Any]:
        called = {"name": function, "arguments": json.dumps(arguments)}
        return {"id": f"call_{uuid4().hex}", "type": "function", "function": called}

    async def ainvoke(self, *_: Any, messages: list[Message], **__: Any) -> ModelResponse:
        return self.next(messages)

    async def ainvoke_stream(self, *_: Any, messages: list[Message], **__: Any) -> AsyncIterator[ModelResponse]:
        answer = self.next(messages)
        if answer.tool_calls:
            yield answer
            return
        for word in str(answer.content).split():
            yield ModelResponse(content=word + " ")

    def invoke(self, *_: Any, messages: list[Message], **__: Any) -> ModelResponse:
        return self.next(messages)

    def invoke_stream(self, *_: Any, messages: list[Message], **__: Any) -> Iterator[ModelResponse]:
        yield self.next(messages)

    def _parse_provider_response(self, response: ModelResponse, **_: Any) -> ModelResponse:
        return response

    def _parse_provider_response_delta(self, response: ModelResponse) -> ModelResponse:
        return response


# --- the workflows ----------------------------------------------------------------------------------------------


def given(step: StepInput) -> tuple[str, float]:
    """The test's name for the run, and how long it takes."""
    start = json.loads(str(step.input))
    return start["ref"], start["secs"]


def ask(step: StepInput) -> StepOutput:
    """The step before a question."""
    note(given(step)[0], "asked")
    return StepOutput(content="asked")


async def go(step: StepInput) -> StepOutput:
    """Runs after a confirmation only."""
    ref, secs = given(step)
    note(ref, "got", True)
    await asyncio.sleep(secs)
    return StepOutput(content="went")


def boom(step: StepInput) -> StepOutput:
    """Fails after its confirmation."""
    ref, _ = given(step)
    note(ref, "got", True)
    note(ref, "failed")
    raise RuntimeError("boom: the step failed after the answer")


def take(step: StepInput) -> StepOutput:
    """Takes a form."""
    note(given(step)[0], "got", (step.additional_data or {}).get("user_input"))
    return StepOutput(content="taken")


def took(choice: str) -> Any:
    """A branch that a person may choose."""

    def branch(step: StepInput) -> StepOutput:
        note(given(step)[0], "got", [choice])
        return StepOutput(content=f"took {choice}")

    return branch


def draft(step: StepInput) -> StepOutput:
    """Its output is what the question is about."""
    note(given(step)[0], "asked")
    return StepOutput(content="draft")


def read(step: StepInput) -> StepOutput:
    """After a review: the output as it was, as a person changed it, or none."""
    seen = step.previous_step_content
    edited = {"confirmed": True, "edited_output": seen}
    note(given(step)[0], "got", True if seen == "draft" else edited if seen else False)
    return StepOutput(content="read")


def skipped(step: StepInput) -> StepOutput:
    """After a confirmation: a step that was rejected is skipped."""
    if step.previous_step_content != "went":
        note(given(step)[0], "got", False)
    return StepOutput(content="looked")


async def labour(step: StepInput) -> StepOutput:
    """Asks nothing and takes its time."""
    await asyncio.sleep(given(step)[1])
    return StepOutput(content="worked")


def end(step: StepInput) -> StepOutput:
    """The last step."""
    note(given(step)[0], "ended")
    return StepOutput(content="finished")


CONFIRM = HumanReview(requires_confirmation=True, confirmation_message="go on?", on_reject="skip", on_error="fail")
FIELDS = [
    {"name": "n", "field_type": "int", "required": True},
    {"name": "text", "field_type": "str", "required": False},
    {"name": "ratio", "field_type": "float", "required": False},
    {"name": "flag", "field_type": "bool", "required": False},
    {"name": "colour", "field_type": "str", "required": False, "allowed_values": ["red", "blue"]},
]
FORM = HumanReview(requires_user_input=True, user_input_message="fill in", user_input_schema=FIELDS)
FREE = HumanReview(requires_user_input=True, user_input_message="tell")
REVIEW = HumanReview(requires_output_review=True, output_review_message="good?", on_reject="skip")
CHOICE = HumanReview(requires_user_input=True, user_input_message="which way?")


def confirmed(executor: Any, number: int = 1) -> list[Step]:
    """A question, the step that it stops, and the step that sees whether it was skipped."""
    return [
        Step(name=f"before{number}", executor=ask),
        Step(name=f"question{number}", executor=executor, human_review=CONFIRM, max_retries=0),
        Step(name=f"after{number}", executor=skipped),
    ]


def steps(helper: Agent) -> dict[str, list[Any]]:
    """By scenario."""
    last = Step(name="end", executor=end)
    before = Step(name="before", executor=ask)
    branches = [Step(name="left", executor=took("left")), Step(name="right", executor=took("right"))]
    return {
        "ask": [*confirmed(go), last],
        "ask-form": [before, Step(name="form", executor=take, human_review=FORM), last],
        "ask-free": [before, Step(name="form", executor=take, human_review=FREE), last],
        "ask-choice": [before, Router(name="way", choices=branches, human_review=CHOICE), last],
        "ask-review": [Step(name="draft", executor=draft, human_review=REVIEW), Step(name="read", executor=read), last],
        "ask-agent": [Step(name="agent", agent=helper)],
        "two": [*confirmed(go), *confirmed(go, 2), last],
        "par": [Step(name="agent", agent=helper)],
        "slow": [Step(name="labour", executor=labour), last],
        "slowask": [*confirmed(go), last],
        "boom": [*confirmed(boom), last],
    }


def agent_os(folder: Path) -> App:
    """The server's app; all state is in the folder."""
    database = SqliteDb(db_file=str(folder / "agno.db"))
    tools = [approve, fill, count, fetch, work, UserFeedbackTools(add_instructions=False)]
    helper = Agent(id="helper", name="helper", model=Table(), tools=tools, db=database, telemetry=False)
    crew = Team(
        id="crew",
        name="crew",
        model=Table(delegates=True),
        members=[Agent(id="helper", name="helper", model=Table(), tools=tools, db=database, telemetry=False)],
        tools=[approve],
        db=database,
        telemetry=False,
    )
    workflows = [
        Workflow(id=scenario, name=scenario, steps=each, db=database, telemetry=False)
        for scenario, each in steps(helper).items()
    ]
    return AgentOS(agents=[helper], teams=[crew], workflows=workflows, telemetry=False).get_app()
