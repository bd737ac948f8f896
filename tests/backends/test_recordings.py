"""What real servers did, replayed: the flow alone with `send()`, and the whole shim, both without network or time."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from ap_resume_shim.core.errors import ResumeError
from ap_resume_shim.core.flow import resume_flow
from ap_resume_shim.core.flow_settings import FlowSettings
from ap_resume_shim.core.http import Headers, Request, Response
from ap_resume_shim.core.protocol import Mode, parse
from ap_resume_shim.core.sse import first_event
from ap_resume_shim.core.steps import (
    Ask,
    Flow,
    ReadBody,
    ReadEvents,
    Reply,
    Send,
    SendReply,
    Step,
    StreamReply,
)
from ap_resume_shim.tools.uncontested import Uncontested
from tests import draft
from tests.recordings import BACKENDS, KEPT, Document, Recording, is_stream, load_all, load_dialect, read_chunks
from tests.recordings.apps import replayed
from tests.recordings.cases import all_of
from tests.recordings.tidy import NOW

RECORDINGS = load_all()

every_recording = pytest.mark.parametrize("recording", RECORDINGS, ids=str)


def test_every_case_is_recorded() -> None:
    wanted = {f"{backend}/{case.file_name(mode)}" for backend in BACKENDS for case, mode in all_of(backend)}
    assert {str(recording) for recording in RECORDINGS} == wanted


@every_recording
def test_the_flow_asks_and_answers_as_recorded(recording: Recording) -> None:
    replay = Replay(recording)
    assert replay.run() == _comparable(recording.reply)
    if replay.reply is not None and recording.mode is not Mode.STREAM:
        kind = "Run" if recording.mode is Mode.BACKGROUND else "RunWaitResponse"
        draft.check(kind if replay.reply["status"] == 200 else "ErrorResponse", replay.reply["body"])
    assert replay.left == []


@every_recording
def test_the_shim_answers_as_recorded(recording: Recording) -> None:
    assert _comparable(replayed(recording)) == _comparable(recording.reply)


class Replay:
    """Does the steps of a flow: the backend's part is read from a recording, and no other resume is under way."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self.left = list(recording.exchanges)
        self._sent: Document = {}
        self._unread: list[bytes] = []
        self._others = Uncontested()
        self.reply: Document | None = None

    def run(self) -> Document:
        """The client's answer."""
        recording, dialect = self._recording, load_dialect(self._recording.backend)
        pinned = recording.headers.get("ap-interrupt-id")
        try:
            resume = parse(recording.body, recording.mode, now=NOW, interrupt_id=pinned)
            dialect.thread_key(resume.thread_id)
            self._drive(resume_flow(resume, dialect, FlowSettings(settle=recording.settle)))
        except ResumeError as error:
            assert self.reply is None, "refused after the answer"
            self.reply = _written(error.http_status, error.headers, error.body())
        assert self.reply is not None, "no answer"
        return self.reply

    def _drive(self, flow: Flow) -> None:
        step = next(flow)
        with suppress(StopIteration):
            while True:
                step = flow.send(self._do(step))

    def _do(self, step: Step) -> Any:
        match step:
            case Ask(requests):
                return tuple(_response(answer) for answer in self._answers(*requests))
            case Send(request):
                (self._sent,) = self._answers(request)
                self._unread = read_chunks(self._sent)
                response = _response(self._sent)
                return replace(response, body=b"") if response.ok else response
            case ReadBody():
                return b"".join(self._rest())
            case ReadEvents():
                return b"" if self._sent.get("late") else self._first_event()
            case SendReply(StreamReply(head, reframer, headers)):
                pieces = [reframer.feed(chunk) for chunk in (head, *self._rest())]
                self.reply = _written(200, headers, b"".join([*pieces, reframer.finish()]))
            case SendReply(Reply(status, value, headers)):
                self.reply = _written(status, headers, value)
            case _:
                return self._others.answer(step)
        return None

    def _answers(self, *requests: Request) -> list[Document]:
        recorded = self.left.pop(0) if self.left else []
        assert [_asked(request) for request in requests] == [exchange["request"] for exchange in recorded]
        return [exchange["response"] for exchange in recorded]

    def _rest(self) -> list[bytes]:
        rest, self._unread = self._unread, []
        return rest

    def _first_event(self) -> bytes:
        read = b""
        while self._unread and first_event(read) is None:
            read += self._unread.pop(0)
        return read


def _asked(request: Request) -> Document:
    body = {} if request.body is None else {"body": request.json}
    return {"method": request.method, "target": request.target, **body}


def _response(answer: Document) -> Response:
    return Response(answer["status"], tuple(answer["headers"].items()), b"".join(read_chunks(answer)))


def _written(status: int, headers: Headers, body: Any) -> Document:
    return {"status": status, "headers": {name: value for name, value in headers if name in KEPT}, "body": body}


def _comparable(message: Document) -> Document:
    """An answer without what only the shell knows; the chunks of a stream may be cut elsewhere."""
    body = b"".join(read_chunks(message)) if is_stream(message["headers"]) else message["body"]
    headers = {name: value for name, value in message["headers"].items() if name != "content-type"}
    return _written(message["status"], tuple(headers.items()), body)
