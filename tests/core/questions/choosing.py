"""A person's choice, written into the answer of a question: what a console does."""

from __future__ import annotations

from typing import Any

from ap_resume_shim.core.questions import Question, fill


def answer_of(question: Question, choose: dict[str, Any]) -> Any:
    """The answer for a choice: `{"value": …}`, `{"option": label}`, or `{"decisions": [[name, {hole: …}], …]}`."""
    if "decisions" in choose:
        pairs = zip(question.actions, choose["decisions"], strict=True)
        decisions = [fill(action.decisions[name], holes) for action, (name, holes) in pairs]
        return fill(question.answer, {"decisions": decisions, "decision": decisions[0]})
    if "option" in choose:
        choose = {"value": next(o.answer for o in question.options if o.label == choose["option"])}
    return fill(question.answer, choose)
