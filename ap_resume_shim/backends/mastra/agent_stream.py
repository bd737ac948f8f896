"""Converts the stream of a Mastra agent to the draft's events. Its chunks are SSE events with `data:` fields alone."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ap_resume_shim.backends.mastra.agent_thread import interrupt_of, question_of, schema_of
from ap_resume_shim.backends.mastra.messages import plain
from ap_resume_shim.core.event_emitter import Emitter
from ap_resume_shim.core.interrupt import Interrupt
from ap_resume_shim.core.reframer import Ended, EventReframer


class AgentStream(EventReframer):
    """Sends text as messages, the results of tools as updates, and a failure of the model as the run's error.

    The server ends the stream; a client that disconnects earlier stops the run.
    """

    def __init__(self, emitter: Emitter, left: Iterable[Interrupt]) -> None:
        """`left` are the questions that this resume does not answer."""
        super().__init__(emitter)
        self._open = list(left)
        self._message: Any = None

    def finish(self) -> bytes:
        """Send the values and the open questions, unless the run failed."""
        if self._ended.error is not None:
            return b""
        values = self._emit.values(self._ended.values) if self._ended.values is not None else b""
        return values + (self._emit.interrupted(self._open) if self._open else b"")

    def _reframe_object(self, chunk: dict[str, Any]) -> bytes:
        content = chunk.get("payload")
        payload: dict[str, Any] = content if isinstance(content, dict) else {}
        match chunk.get("type"):
            case "step-start":
                self._message = payload.get("messageId")
            case "text-delta":
                return self._emit.message("assistant", payload.get("text"), id=self._message)
            case "tool-result":
                return self._emit.update(str(payload.get("toolName")), payload.get("result"))
            case "tool-error":
                return self._emit.update(str(payload.get("toolName")), {"error": plain(payload.get("error"))})
            case "tool-call-approval" | "tool-call-suspended" as kind:
                self._ask(payload, approval=kind == "tool-call-approval")
                return b""
            case "error":
                return self._fail(plain(payload.get("error")) or {"message": "The agent failed."})
            case "abort":
                return self._fail({"message": "The run was aborted."})
            case "tripwire":
                return self._fail({"message": payload.get("reason") or "The run was stopped by a processor."})
            case "finish":
                self._finish(payload)
                return b""
        return self._emit.custom(plain(chunk))

    def _ask(self, call: dict[str, Any], *, approval: bool) -> None:
        value = question_of(call, approval=approval)
        self._open.append(interrupt_of(str(call.get("toolCallId")), value, schema_of(call), approval=approval))

    def _finish(self, payload: dict[str, Any]) -> None:
        output, messages = payload.get("output") or {}, payload.get("messages") or {}
        if self._ended.error is None:
            self._ended = Ended({"text": output.get("text"), "messages": messages.get("all") or []})
