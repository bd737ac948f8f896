"""Recognises the shape of a question.

The order is: LangChain's shapes and agent-inbox, the forms in which the dialects present the questions of other
frameworks, the schema of the answer, a plain text. Anything else is `any`.
"""

from __future__ import annotations

from ap_resume_shim.core.interrupt import Interrupt
from ap_resume_shim.core.json_values import is_hex32
from ap_resume_shim.core.questions import frameworks, langchain
from ap_resume_shim.core.questions.model import Question
from ap_resume_shim.core.questions.prompts import is_only_a_prompt, prompt_in
from ap_resume_shim.core.questions.schemas import by_schema

_ANY_BACKEND = (langchain.approval, langchain.agent_inbox, *frameworks.OF_AGENTS)


def describe(interrupt: Interrupt) -> Question:
    """Return the question as a person sees it. Never raises: an unknown value or schema has the kind `any`."""
    for shape in _ANY_BACKEND if _is_of_an_agent(interrupt) else (*_ANY_BACKEND, *frameworks.OF_DIALECTS):
        question = shape(interrupt)
        if question is not None:
            return question
    prompt = prompt_in(interrupt.value)
    if interrupt.response_schema:
        return by_schema(interrupt.response_schema, prompt) or Question("any", prompt)
    return Question("text" if is_only_a_prompt(interrupt.value) else "any", prompt)


def _is_of_an_agent(interrupt: Interrupt) -> bool:
    """True if an agent chose the value, not a dialect: without an id, or with one of LangGraph's form.

    Such a value is never taken for the question of another framework.
    """
    return interrupt.id is None or is_hex32(interrupt.id)
