"""What the shim makes of a question that a server recorded, and what it refuses as an answer to it.

A reader gives the interrupt, as the server's dialect reads it, and the dialect's own check of an answer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any, cast

from ap_resume_shim.backends.a2a import bindings
from ap_resume_shim.backends.a2a.answer import check as check_a2a
from ap_resume_shim.backends.a2a.card import Agent
from ap_resume_shim.backends.a2a.task import Task
from ap_resume_shim.backends.acp import messages as acp
from ap_resume_shim.backends.adk import session as adk
from ap_resume_shim.backends.adk.answer import response_of
from ap_resume_shim.backends.ag_ui.messages import check_answers, pending_questions
from ap_resume_shim.backends.agno import questions as agno
from ap_resume_shim.backends.llamaindex.answer import Kind
from ap_resume_shim.backends.llamaindex.event_log import LlamaIndexQuestion
from ap_resume_shim.backends.mastra import Mastra, MastraAgent, agent_thread, workflow_steps
from ap_resume_shim.backends.mastra.agent import MastraAgentContext
from ap_resume_shim.backends.mastra.workflow import MastraContext
from ap_resume_shim.core import strictjson
from ap_resume_shim.core.dialect import Answers, Dialect, Found
from ap_resume_shim.core.interrupt import Interrupt
from ap_resume_shim.core.protocol import Resume
from ap_resume_shim.core.typed_answers import check_answer

Check = Callable[[Any], object]
"""Raises a `ResumeError` for an answer that the shim refuses."""
Read = tuple[Interrupt, Check]


def langgraph(asked: dict[str, Any]) -> Read:
    interrupt = Interrupt(asked["id"], asked["value"], asked.get("response_schema"))
    return interrupt, partial(check_answer, interrupt)


def of_agno(run: dict[str, Any]) -> Read:
    (question,) = agno.questions_of(run, "2026-11-29T14:00:00+00:00")
    return question.interrupt, question.answered


def of_adk(event: dict[str, Any]) -> Read:
    (question,) = adk.questions_of(event, Counter()).values()
    return question.interrupt, partial(response_of, question)


def ag_ui(events: list[dict[str, Any]]) -> Read:
    (question,) = pending = pending_questions([e for e in events if e["type"] == "CUSTOM"], events[-1])
    return question.interrupt, lambda answer: check_answers(pending, {question.id: answer})


def a2a(task: dict[str, Any]) -> Read:
    agent = Agent(cast(bindings.Binding, None))
    return Task(task).question, lambda answer: check_a2a(answer, agent)


def of_acp(run: dict[str, Any]) -> Read:
    return acp.question(run), acp.part


def mastra(asked: dict[str, Any]) -> Read:
    schema = strictjson.read(asked["resumeSchema"])["json"]
    (step,) = workflow_steps.questions_of(asked["steps"])
    step = workflow_steps.StepQuestion(step.path, step.value, step.asked_at, schema=schema)
    return step.interrupt, _checked_by(Mastra(), step.interrupt, MastraContext("w", None, (step,)))


def mastra_agent(asked: dict[str, Any]) -> Read:
    call, approval = asked["call"], asked["call"]["requiresApproval"]
    value, schema = agent_thread.question_of(call, approval=approval), agent_thread.schema_of(asked["mark"])
    question = agent_thread.AgentQuestion("helper", "run", call["toolCallId"], approval, value, schema)
    return question.interrupt, _checked_by(MastraAgent(), question.interrupt, MastraAgentContext("r", (question,)))


def _checked_by(dialect: Dialect[Any], interrupt: Interrupt, context: Any) -> Check:
    found = Found("interrupted", (interrupt,), context=context)
    return lambda answer: dialect.check(cast(Resume, None), found, Answers({interrupt.id: answer}))


def llamaindex(asked: dict[str, Any]) -> Read:
    event = asked["event"]
    interrupt = LlamaIndexQuestion(asked["number"], event["type"], event["value"]).interrupt(asked["run_id"])
    return interrupt, lambda answer: Kind("Answer", asked["answer"]).fields(answer, "", ())


READERS: dict[str, Callable[[Any], Read]] = {
    "langgraph": langgraph,
    "agno": of_agno,
    "adk": of_adk,
    "ag-ui": ag_ui,
    "a2a": a2a,
    "acp": of_acp,
    "mastra": mastra,
    "mastra-agent": mastra_agent,
    "llamaindex": llamaindex,
}
