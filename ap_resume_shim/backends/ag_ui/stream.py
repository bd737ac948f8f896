"""Converts AG-UI's events to the draft's events, and collects the values of a run.

- `values`: the shared state, with the messages added to it. A snapshot that LangGraph's adapter takes in the middle of
  a run holds the output of one step, and becomes that step's update.
- `messages`: the agent's messages and the results of its tools.
- `custom`: every other event, without its `rawEvent`. Dropped are RAW events, which repeat the others, events without
  contents (`_SILENT`, the start of a message), and `on_interrupt`, whose questions are in `values`.
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

BROKE_OFF = {"code": "incomplete", "message": "The stream ended before it showed how the run ended."}
_RAW = '{"type":"RAW"'
"""Prefix of most events of LangGraph's adapter: they are dropped without decoding."""
_SILENT = ("RAW", "RUN_STARTED", "STEP_STARTED", "TEXT_MESSAGE_END", "TOOL_CALL_END")


class AgUiStream(EventReframer):
    """Converts the stream of one run to the client's events."""

    def __init__(self, modes: Iterable[StreamMode]) -> None:
        super().__init__(Emitter(modes))
        self._transcript = Transcript()
        self._state: dict[str, Any] = {}
        self._result: Any = None
        self._step_outputs: dict[str, Any] = {}
        self._customs: list[dict[str, Any]] = []
        self._error: Any = None
        self._run_over = False

    def finish(self) -> bytes:
        """Send an error if the stream ended before its run did."""
        if self._run_over:
            return b""
        self._error, self._run_over = BROKE_OFF, True
        return self._emit.error(BROKE_OFF)

    def ended(self) -> Ended:
        """Return the run's values and its error."""
        return Ended(self._values(), self._error)

    def _values(self) -> Any:
        if not self._state and not self._transcript.messages:
            return {} if self._result is None else self._result
        return {**self._state, **({"messages": self._transcript.messages} if self._transcript.messages else {})}

    def _set_state(self, state: Any) -> bytes:
        """Replace the state, and send the values if it changed. Messages in LangGraph's state have separate events."""
        before, fields = self._state, state if isinstance(state, dict) else {"state": state}
        self._state = {name: item for name, item in fields.items() if name != "messages"}
        return b"" if self._state == before else self._emit.values(self._values())

    def _reframe(self, event: sse.Event) -> bytes:
        return b"" if str(event.data).startswith(_RAW) else super()._reframe(event)

    def _reframe_object(self, event: dict[str, Any]) -> bytes:
        if event.get("type") in _SILENT:
            return b""
        match event.get("type"):
            case "STATE_SNAPSHOT":
                return self._snapshot(event)
            case "STATE_DELTA":
                return self._set_state(patched(self._state, event.get("delta")))
            case "MESSAGES_SNAPSHOT":
                self._transcript.replace(event.get("messages"))
                return b""
            case "STEP_FINISHED":
                step = str(event.get("stepName"))
                return self._emit.update(step, self._step_outputs.pop(step, None))
            case "CUSTOM" if event.get("name") == "on_interrupt":
                self._customs.append(event)
                return b""
            case "RUN_FINISHED":
                return self._finish(event)
            case "RUN_ERROR":
                self._run_over = True
                self._error = wire.error_of(event)
                return self._emit.error(self._error)
        part = self._transcript.add(event)
        if part is not None:
            return self._emit.message(part["role"], part["content"], id=part["id"])
        return b"" if self._transcript.describes_message(event) else self._emit.custom(_without_raw(event))

    def _snapshot(self, event: dict[str, Any]) -> bytes:
        raw = event.get("rawEvent")
        if isinstance(raw, dict) and isinstance(raw.get("data"), dict):
            self._step_outputs[str(raw.get("name"))] = raw["data"].get("output")
            return b""
        return self._set_state(event.get("snapshot"))

    def _finish(self, event: dict[str, Any]) -> bytes:
        self._run_over = True
        self._result = event.get("result")
        questions = wire.pending_questions(self._customs, event)
        end = self._emit.values(self._values())
        return end + (self._emit.interrupted(question.interrupt for question in questions) if questions else b"")


class Transcript:
    """The messages of a run: the last snapshot, and the messages since."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []

    def replace(self, messages: Any) -> None:
        """Replace all messages with those of a snapshot; anything but a list leaves none."""
        items = messages if isinstance(messages, list) else []
        # An assistant message that only calls tools may lack its content, which the draft requires.
        self.messages = [{**one, "content": one.get("content") or ""} for one in items if isinstance(one, dict)]

    def add(self, event: dict[str, Any]) -> dict[str, Any] | None:
        """Add an event. Return the part of a message that it adds, with role, content and id, or None."""
        match event.get("type"):
            case "TEXT_MESSAGE_START":
                self._message(event)
            case "TEXT_MESSAGE_CONTENT" | "TEXT_MESSAGE_CHUNK":
                return self._append(self._message(event), event.get("delta"))
            case "TOOL_CALL_START" | "TOOL_CALL_ARGS" | "TOOL_CALL_CHUNK":
                self._call(event)
            case "TOOL_CALL_RESULT":
                result = {"id": event.get("messageId"), "role": "tool", "content": event.get("content")}
                self.messages.append({**result, "toolCallId": event.get("toolCallId")})
                return result
        return None

    @staticmethod
    def _append(message: dict[str, Any], delta: Any) -> dict[str, Any] | None:
        if not isinstance(delta, str):
            return None
        message["content"] = (message.get("content") or "") + delta
        return {"role": message.get("role"), "content": delta, "id": message.get("id")}

    def describes_message(self, event: dict[str, Any]) -> bool:
        """True if the event only describes a message."""
        return str(event.get("type")).startswith("TEXT_MESSAGE_")

    def _message(self, event: dict[str, Any]) -> dict[str, Any]:
        """Return the event's message; create it if necessary. A chunk without an id continues the last message."""
        message_id = event.get("messageId")
        found = self.messages[-1:] if message_id is None else [m for m in self.messages if m.get("id") == message_id]
        if not found:
            found = [{"id": message_id, "role": event.get("role") or "assistant", "content": ""}]
            self.messages += found
        return found[-1]

    def _call(self, event: dict[str, Any]) -> None:
        calls = [call for message in self.messages for call in message.get("toolCalls") or ()]
        call_id = event.get("toolCallId") or (calls[-1]["id"] if calls else None)
        call = next((call for call in calls if call.get("id") == call_id), None)
        if call is None:
            call = {"id": call_id, "type": "function", "function": {"name": event.get("toolCallName"), "arguments": ""}}
            parent = self._message({"messageId": event.get("parentMessageId") or call_id})
            parent.setdefault("toolCalls", []).append(call)
        call["function"]["arguments"] += event.get("delta") or ""


def _without_raw(event: dict[str, Any]) -> dict[str, Any]:
    return {name: item for name, item in event.items() if name != "rawEvent"}
