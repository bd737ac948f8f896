"""How clients of ADK's API server answer: a run whose message has the response of a function.

The server reads camelCase and snake_case. A message with text alone is a new turn: the question stays open.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ap_resume_shim.core.protocol import Mode
from ap_resume_shim.core.vendor_resume import ClientRequest, Convention, VendorResume, by_question

if TYPE_CHECKING:
    from ap_resume_shim.core.dialect import Found

_ROUTES = {"/run": Mode.WAIT, "/run_sse": Mode.STREAM}


class FunctionResponse(Convention):
    """`POST /run` or `/run_sse` with a `functionResponse`."""

    name = "adk"
    checks_value = False

    def matches(self, method: str, path: str) -> bool:
        """Return True for the two routes that run an agent."""
        return method == "POST" and path in _ROUTES

    def read(self, request: ClientRequest) -> VendorResume | None:
        """Return the answers if a part of the message is the response of a function."""
        run = request.object
        app, user, session = (_either(run, *names) for names in (_APP, _USER, _SESSION))
        answers = _answers(_either(run, "newMessage", "new_message"))
        if not answers or not isinstance(session, str):
            return None
        fields = {"input": answers, "agent_id": app, "config": {"configurable": {"user_id": user}}}
        return VendorResume(self, request, session, _ROUTES[request.path], fields)

    def addressed(self, vendor: VendorResume, found: Found[Any]) -> Mapping[str, Any]:
        """Return the answers with the ids of their questions, which have a number if a call id is repeated."""
        asking = found.context.session.open
        names = {call: asking[call].id if call in asking else call for call in vendor.fields["input"]}
        answers = {names[call]: answer for call, answer in vendor.fields["input"].items()}
        return {**vendor.fields, **by_question(answers, found)}


_APP, _USER, _SESSION = ("appName", "app_name"), ("userId", "user_id"), ("sessionId", "session_id")


def _either(value: dict[str, Any], camel: str, snake: str) -> Any:
    return value.get(camel, value.get(snake))


def _answers(message: Any) -> dict[str, Any]:
    """Return the responses in a message by call id; `{"result": value}` is ADK's form of another value."""
    parts = message.get("parts") if isinstance(message, dict) else None
    parts = [part for part in parts if isinstance(part, dict)] if isinstance(parts, list) else []
    responses = [_either(part, "functionResponse", "function_response") for part in parts]
    return {str(item.get("id")): _plain(item.get("response")) for item in responses if isinstance(item, dict)}


def _plain(response: Any) -> Any:
    return response["result"] if isinstance(response, dict) and list(response) == ["result"] else response
