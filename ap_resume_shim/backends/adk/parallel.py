"""Checks which answers one message to ADK can carry. The server responds 200 to every combination, but loses some.

- A user's event belongs to one branch, which is the branch of one of the calls that it answers. An agent reads only the
  events of its branch, so parallel agents (in a `ParallelAgent`, or as nodes of a workflow) are answered one by one.
- An agent loses all other answers in a message with a confirmation. It uses answers only after the confirmation.
- With resumability, an agent waits for an answer to each of its calls that has no result yet. A workflow does the same
  for its nodes, with or without resumability. They wait without an event, so the session looks busy for ever.
- With resumability, an agent in a sequence or in a parallel group ends with the first answers, and gets no others.

Each combination was tried on the real server (google-adk 2.13.0).
"""

from __future__ import annotations

from collections.abc import Sequence

from ap_resume_shim.backends.adk.session import CONFIRMATION, AdkQuestion, Session
from ap_resume_shim.core.errors import MultipleInterrupts


def check_together(answered: Sequence[AdkQuestion], session: Session) -> None:
    """Raise `MultipleInterrupts` for answers that one message cannot carry, or that need other answers as well."""
    ids = {question.id for question in answered}
    runs = {question.invocation_id for question in answered}
    left = [question for question in session.open.values() if question.invocation_id in runs and question.id not in ids]
    if answered and (problem := _problem(answered, left, session)):
        raise MultipleInterrupts(problem, [question.interrupt for question in session.open.values()])


def answered_together(question: AdkQuestion, session: Session) -> list[AdkQuestion]:
    """Return the questions that ADK accepts only together with this one, this one among them."""
    run = [each for each in session.open.values() if each.invocation_id == question.invocation_id]
    if _problem([question], [each for each in run if each.id != question.id], session) != _ALL:
        return [question]
    return [each for each in run if _kin(each) == _kin(question)]


def _kin(question: AdkQuestion) -> object:
    """Return a key, which is equal for questions that one message can answer."""
    return question.of_workflow or (question.branch, question.author, question.name == CONFIRMATION)


def _problem(answered: Sequence[AdkQuestion], left: Sequence[AdkQuestion], session: Session) -> str | None:
    if any(question.of_workflow for question in answered):
        if not all(question.of_workflow for question in answered):
            return "These questions belong to a workflow and to an agent in it: answer them one after the other."
        return _ALL if any(question.of_workflow for question in left) else None
    if len({(question.branch, question.author) for question in answered}) > 1:
        return "These questions belong to several agents: answer those of one agent at a time."
    first = answered[0]
    beside = [q for q in left if (q.branch, q.author) == (first.branch, first.author) and not q.of_workflow]
    confirmations = [question for question in answered if question.name == CONFIRMATION]
    others = [question for question in beside if question.name != CONFIRMATION]
    if confirmations and len(confirmations) < len(answered):
        return "The agent loses other answers beside a confirmation: send the confirmation first."
    if not confirmations and len(others) < len(beside):
        return "The agent needs the confirmation before other answers: send the confirmation first."
    alike = [question for question in beside if question not in others] if confirmations else others
    if session.in_group(first):
        return _ALL if alike else None
    waits = not confirmations and not all(question.call_id in session.provisional for question in answered)
    return _ALL if waits and any(question.call_id not in session.provisional for question in alike) else None


_ALL = "The agent accepts only the answers to all of these at once: send `input` as an object {interrupt id: answer}."
