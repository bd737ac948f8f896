"""AG-UI's events as the draft's, and what a run has said by its end.

`values` is the shared state with the messages beside it; a snapshot of LangGraph's adapter that was taken in the
middle of a run holds what one step gave, and becomes that step's update. `messages` is what the agent says and what
its tools give; `custom` is every other event as it came, but for RAW ones, in which a server repeats itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ap_resume_shim.backends.ag_ui import messages as wire
from ap_resume_shim.core import sse
from ap_resume_shim.core.event_emitter import Emitter
from ap_resume_shim.core.json_patch import patched
from ap_resume_shim.core.protocol import StreamMode
from ap_resume_shim.core.reframer import Ended, EventReframer

BROKE_OFF = {"code": "incomplete", "message": "The stream ended without telling how the run ended."}
_RAW = '{"type":"RAW"'
"""How most events of LangGraph's adapter begin: they need not be decoded to be left out."""
_SILENT = ("RAW", "RUN_STARTED", "STEP_STARTED", "TEXT_MESSAGE_END", "TOOL_CALL_END")


class AgUiStream(EventReframer):
    """Turns the stream of a run into the client's events."""

    def __init__(self, modes: Iterable[StreamMode]) -> None:
        super().__init__(Emitter(modes))
        self._said = Transcript()
        self._state: dict[str, Any] = {}
        self._result: Any = None
        self._gave: dict[str, Any] = {}
        self._customs: list[dict[str, Any]] = []
        self._error: Any = None
        self._run_over = False

    def finish(self) -> bytes:
        """The stream is over; if its run had not ended, nobody knows how it did."""
        if self._run_over:
            return b""
        self._error, self._run_over = BROKE_OFF, True
        return self._emit.error(BROKE_OFF)

    def ended(self) -> Ended:
        """What the run has left, and its error."""
        return Ended(self._values(), self._error)

    def _values(self) -> Any:
        if not self._state and not self._said.messages:
            return {} if self._result is None else self._result
        return {**self._state, **({"messages": self._said.messages} if self._said.messages else {})}

    def _become(self, state: Any) -> bytes:
        """Take a state, and tell it if it is another; the messages in LangGraph's have events of their own."""
        before, told = self._state, state if isinstance(state, dict) else {"state": state}
        self._state = {name: item for name, item in told.items() if name != "messages"}
        return b"" if self._state == before else self._emit.values(self._values())

    def _reframe(self, event: sse.Event) -> bytes:
        return b"" if str(event.data).startswith(_RAW) else super()._reframe(event)

    def _reframe_object(self, told: dict[str, Any]) -> bytes:
        if told.get("type") in _SILENT:
            return b""
        match told.get("type"):
            case "STATE_SNAPSHOT":
                return self._snapshot(told)
            case "STATE_DELTA":
                return self._become(patched(self._state, told.get("delta")))
            case "MESSAGES_SNAPSHOT":
                self._said.replace(told.get("messages"))
                return b""
            case "STEP_FINISHED":
                step = str(told.get("stepName"))
                return self._emit.update(step, self._gave.pop(step, None))
            case "CUSTOM" if told.get("name") == "on_interrupt":
                self._customs.append(told)
                return b""
            case "RUN_FINISHED":
                return self._finish(told)
            case "RUN_ERROR":
                self._run_over = True
                self._error = wire.error_of(told)
                return self._emit.error(self._error)
        part = self._said.hear(told)
        if part is not None:
            return self._emit.message(part["role"], part["content"], id=part["id"])
        return b"" if self._said.knows(told) else self._emit.custom(_as_it_came(told))

    def _snapshot(self, told: dict[str, Any]) -> bytes:
        raw = told.get("rawEvent")
        if isinstance(raw, dict) and isinstance(raw.get("data"), dict):
            self._gave[str(raw.get("name"))] = raw["data"].get("output")
            return b""
        return self._become(told.get("snapshot"))

    def _finish(self, told: dict[str, Any]) -> bytes:
        self._run_over = True
        self._result = told.get("result")
        questions = wire.asked(self._customs, told)
        end = self._emit.values(self._values())
        return end + (self._emit.interrupted(question.interrupt for question in questions) if questions else b"")


class Transcript:
    """The messages of a run: a snapshot, and what was said since."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []

    def replace(self, messages: Any) -> None:
        """A snapshot holds all of them."""
        told = messages if isinstance(messages, list) else []
        # An assistant's message that only calls tools may lack its content, which the draft requires.
        self.messages = [{**one, "content": one.get("content") or ""} for one in told if isinstance(one, dict)]

    def hear(self, event: dict[str, Any]) -> dict[str, Any] | None:
        """Take an event; the part of a message that it adds, with role, content and id, if it adds any."""
        match event.get("type"):
            case "TEXT_MESSAGE_START":
                self._message(event)
            case "TEXT_MESSAGE_CONTENT" | "TEXT_MESSAGE_CHUNK":
                return self._more(self._message(event), event.get("delta"))
            case "TOOL_CALL_START" | "TOOL_CALL_ARGS" | "TOOL_CALL_CHUNK":
                self._call(event)
            case "TOOL_CALL_RESULT":
                result = {"id": event.get("messageId"), "role": "tool", "content": event.get("content")}
                self.messages.append({**result, "toolCallId": event.get("toolCallId")})
                return result
        return None

    @staticmethod
    def _more(message: dict[str, Any], delta: Any) -> dict[str, Any] | None:
        if not isinstance(delta, str):
            return None
        message["content"] = (message.get("content") or "") + delta
        return {"role": message.get("role"), "content": delta, "id": message.get("id")}

    def knows(self, event: dict[str, Any]) -> bool:
        """Whether an event tells of messages alone."""
        return str(event.get("type")).startswith("TEXT_MESSAGE_")

    def _message(self, event: dict[str, Any]) -> dict[str, Any]:
        """The message that is spoken of, made if need be; a chunk without an id goes on with the last one."""
        named = event.get("messageId")
        spoken_of = self.messages[-1:] if named is None else [one for one in self.messages if one.get("id") == named]
        if not spoken_of:
            spoken_of = [{"id": named, "role": event.get("role") or "assistant", "content": ""}]
            self.messages += spoken_of
        return spoken_of[-1]

    def _call(self, event: dict[str, Any]) -> None:
        calls = [call for message in self.messages for call in message.get("toolCalls") or ()]
        named = event.get("toolCallId") or (calls[-1]["id"] if calls else None)
        call = next((call for call in calls if call.get("id") == named), None)
        if call is None:
            call = {"id": named, "type": "function", "function": {"name": event.get("toolCallName"), "arguments": ""}}
            parent = self._message({"messageId": event.get("parentMessageId") or named})
            parent.setdefault("toolCalls", []).append(call)
        call["function"]["arguments"] += event.get("delta") or ""


def _as_it_came(event: dict[str, Any]) -> dict[str, Any]:
    return {name: item for name, item in event.items() if name != "rawEvent"}
