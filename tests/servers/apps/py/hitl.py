"""LangChain's `HumanInTheLoopMiddleware` around two tools, in both of its modes; the model is scripted.

`batched` asks once about both calls, `per_call` once about each. What ran stands in the thread's messages. A server
without LangChain has `ask` under these names.
"""

from importlib.util import find_spec
from typing import Any

from graph import ask
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, ToolMessage

CALLS = [
    {"name": "send_email", "args": {"to": "a@example.org"}, "id": "call_1", "type": "tool_call"},
    {"name": "pay", "args": {"amount": 5}, "id": "call_2", "type": "tool_call"},
]


class Scripted(GenericFakeChatModel):
    """Calls both tools once, and is content with whatever came of it."""

    def bind_tools(self, tools: Any, **_: Any) -> "Scripted":
        return self

    def _generate(self, messages: Any, *_: Any, **__: Any) -> Any:
        from langchain_core.outputs import ChatGeneration, ChatResult

        done = any(isinstance(message, ToolMessage) for message in messages)
        message = AIMessage(content="done") if done else AIMessage(content="", tool_calls=CALLS)
        return ChatResult(generations=[ChatGeneration(message=message)])


def send_email(to: str) -> str:
    """Send an email."""
    return f"sent to {to}"


def pay(amount: int) -> str:
    """Pay an amount."""
    return f"paid {amount}"


def delete_file(path: str) -> str:
    """Delete a file."""
    return f"deleted {path}"


def agent(mode: str) -> Any:
    """An agent that is allowed to send an email, and to pay, once a person approves."""
    if find_spec("langchain") is None:
        return ask
    from langchain.agents import create_agent
    from langchain.agents.middleware import HumanInTheLoopMiddleware

    rules: dict[str, Any] = {"send_email": True, "pay": {"allowed_decisions": ["approve", "reject"]}}
    review = HumanInTheLoopMiddleware(interrupt_on=rules, interrupt_mode=mode)
    return create_agent(Scripted(messages=iter(())), [send_email, pay, delete_file], middleware=[review])


batched = agent("batched")
per_call = agent("per_call")
