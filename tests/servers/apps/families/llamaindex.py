"""The scenarios as LlamaIndex workflows: `start_event` is `{"ref", "secs"}`.

A workflow asks in one of two ways, and the server tells them apart nowhere but in its log of steps: a step ends with
the question, and another one takes the answer; or a step waits for the answer in its middle, and then runs again from
its beginning. `Ask` and `AskWait` ask alike, one in each way.
"""

import asyncio
from typing import Any

from llama_agents.server import WorkflowServer
from pydantic import field_validator
from workflows import Context, Workflow, step
from workflows.events import Event, HumanResponseEvent, InputRequiredEvent, StartEvent, StopEvent

from tests.servers.apps.families.witness import note

NO_ANSWER = "not an answer"
"""What the answer's event refuses."""
LONG = 600.0
"""Seconds that a run may take. Without a limit, nothing in the server holds a run that waits between two steps:
Python's garbage collector takes it now and then, and its answer, to which the server says 200, is lost.
"""

_asked: set[tuple[str, str]] = set()


def asks(ref: str, prompt: str) -> str:
    """Note a question once, though a step that waits runs again from its beginning."""
    if (ref, prompt) not in _asked:
        _asked.add((ref, prompt))
        note(ref, "asked", prompt)
    return prompt


class Question(InputRequiredEvent):
    prompt: str


class Answer(HumanResponseEvent):
    response: Any

    @field_validator("response")
    @classmethod
    def is_one(cls, response: Any) -> Any:
        if response == NO_ANSWER:
            raise ValueError("This is not an answer.")
        return response


class Form(HumanResponseEvent):
    """An answer of several fields."""

    approved: bool
    comment: str


class QuestionA(InputRequiredEvent):
    prompt: str


class QuestionB(InputRequiredEvent):
    prompt: str


class AnswerA(HumanResponseEvent):
    response: Any


class AnswerB(HumanResponseEvent):
    response: Any


class Progress(Event):
    text: str


class Part(Event):
    part: str
    response: Any


class Scenario(Workflow):
    """A question in one step, the answer in another."""

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> Question:
        await ctx.store.set("ref", ev.ref)
        await ctx.store.set("secs", ev.get("secs", 0))
        return Question(prompt=asks(ev.ref, "Go on?"))

    @step
    async def answered(self, ctx: Context, ev: Answer) -> StopEvent:
        ref = await ctx.store.get("ref")
        note(ref, "got", ev.response)
        ctx.write_event_to_stream(Progress(text="The answer is here."))
        await self.afterwards(ref, await ctx.store.get("secs"))
        note(ref, "ended")
        return StopEvent(result={"answer": ev.response})

    async def afterwards(self, ref: str, secs: float) -> None:
        """What follows the answer."""


class Ask(Scenario):
    pass


class SlowAsk(Scenario):
    async def afterwards(self, ref: str, secs: float) -> None:
        await asyncio.sleep(secs)


class Boom(Scenario):
    async def afterwards(self, ref: str, secs: float) -> None:
        note(ref, "failed")
        raise RuntimeError("boom")


class AskWait(Workflow):
    """The framework's own events, which take any field, and a step that waits for them."""

    @step
    async def ask(self, ctx: Context, ev: StartEvent) -> StopEvent:
        question = InputRequiredEvent(prefix=asks(ev.ref, "Go on?"))
        answer = await ctx.wait_for_event(HumanResponseEvent, waiter_event=question, waiter_id="ask")
        note(ev.ref, "got", answer.response)
        note(ev.ref, "ended")
        return StopEvent(result={"answer": answer.response})


class AskForm(Workflow):
    """An answer of several fields, with types of their own."""

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> Question:
        await ctx.store.set("ref", ev.ref)
        return Question(prompt=asks(ev.ref, "Approve?"))

    @step
    async def answered(self, ctx: Context, ev: Form) -> StopEvent:
        ref = await ctx.store.get("ref")
        note(ref, "got", ev.model_dump())
        note(ref, "ended")
        return StopEvent(result={"answer": ev.model_dump()})


class Two(Workflow):
    """A step for each question: of two that one step waits for, the second answer would be taken for both."""

    @step
    async def first(self, ctx: Context, ev: StartEvent) -> Part:
        return Part(part=ev.ref, response=await self.ask(ctx, ev.ref, "First?"))

    @step
    async def second(self, ctx: Context, ev: Part) -> StopEvent:
        answers = [ev.response, await self.ask(ctx, ev.part, "Second?")]
        note(ev.part, "ended")
        return StopEvent(result={"answers": answers})

    async def ask(self, ctx: Context, ref: str, prompt: str) -> Any:
        question = Question(prompt=asks(ref, prompt))
        answer = await ctx.wait_for_event(Answer, waiter_event=question, waiter_id=prompt)
        note(ref, "got", answer.response)
        return answer.response


class Par(Workflow):
    """Two steps wait at once, each for an event of its own: one event is taken by all that wait for its class."""

    @step
    async def a(self, ctx: Context, ev: StartEvent) -> Part:
        await ctx.store.set("ref", ev.ref)
        question = QuestionA(prompt=asks(ev.ref, "a?"))
        answer = await ctx.wait_for_event(AnswerA, waiter_event=question, waiter_id="a")
        note(ev.ref, "got", answer.response)
        return Part(part="a", response=answer.response)

    @step
    async def b(self, ctx: Context, ev: StartEvent) -> Part:
        question = QuestionB(prompt=asks(ev.ref, "b?"))
        answer = await ctx.wait_for_event(AnswerB, waiter_event=question, waiter_id="b")
        note(ev.ref, "got", answer.response)
        return Part(part="b", response=answer.response)

    @step
    async def join(self, ctx: Context, ev: Part) -> StopEvent | None:
        parts = ctx.collect_events(ev, [Part, Part])
        if parts is None:
            return None
        note(await ctx.store.get("ref"), "ended")
        return StopEvent(result={part.part: part.response for part in parts})


class Slow(Workflow):
    @step
    async def work(self, ctx: Context, ev: StartEvent) -> StopEvent:
        await asyncio.sleep(ev.secs)
        note(ev.ref, "ended")
        return StopEvent(result={"slept": ev.secs})


def app() -> Any:
    """The server.

    Answers that only a waiting step takes have to be named to it; and the questions, so that it can wake a run up that
    it put away.
    """
    server = WorkflowServer()
    server.add_workflow("ask", Ask(timeout=LONG))
    server.add_workflow("ask-wait", AskWait(timeout=LONG), additional_events=[HumanResponseEvent, InputRequiredEvent])
    server.add_workflow("ask-form", AskForm(timeout=LONG))
    server.add_workflow("two", Two(timeout=LONG), additional_events=[Answer, Question])
    server.add_workflow("par", Par(timeout=LONG), additional_events=[QuestionA, AnswerA, QuestionB, AnswerB])
    server.add_workflow("slow", Slow(timeout=LONG))
    server.add_workflow("slowask", SlowAsk(timeout=LONG))
    server.add_workflow("boom", Boom(timeout=LONG))
    return server.app
