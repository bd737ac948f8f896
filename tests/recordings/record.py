"""Make the recordings, or some backends' alone: `python -m tests.recordings.record [backend ...]`.

A real server is that of the environment (`AP_TEST_<NAME>_URL`, as `python -m tests.servers` sets it), or is started.
`--replies` needs no server: what the servers did stays, and what the shim makes of it now is written anew.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from ap_resume_shim import ResumeShim, ReverseProxy
from ap_resume_shim.core import strictjson
from ap_resume_shim.core.protocol import Mode
from ap_resume_shim.demo import create_app
from tests.e2e.drivers import DRIVERS
from tests.recordings import BACKENDS, HERE, Document, Recording, load_all, load_dialect
from tests.recordings.apps import Heard, Recorder, call, replayed
from tests.recordings.cases import Body, Case, all_of
from tests.recordings.tidy import tidy
from tests.servers.run import running
from tests.support.serving import serving
from tests.support.waiting import eventually


def main(arguments: list[str]) -> None:
    """Record every case, or write the replies anew; files of cases that are no more are removed."""
    if arguments == ["--replies"]:
        for recording in load_all():
            document = tidy(recording.document | {"reply": replayed(recording)})
            write(Recording(recording.backend, recording.case, document))
        return
    for backend in arguments or BACKENDS:
        (HERE / backend).mkdir(exist_ok=True)
        with address_of(backend) as url, Studio(backend, url) as studio:
            written = {studio.record(case, mode).path for case, mode in all_of(backend)}
        for path in set((HERE / backend).glob("*.json")) - written:
            path.unlink()


def write(recording: Recording) -> None:
    """Write the file, unless it would tell of this machine."""
    text = laid_out(recording.document) + "\n"
    if leak := _LEAK.search(text):
        raise RuntimeError(f"{recording} tells of this machine: {leak[0]!r}")
    recording.path.write_text(text, "utf-8")


@contextmanager
def address_of(backend: str) -> Iterator[str]:
    """A running server."""
    with serving(create_app()) if backend == "agent-protocol" else running(backend) as url:
        yield url


class Studio:
    """One backend, with its driver and with the shim in front of it."""

    def __init__(self, backend: str, url: str) -> None:
        self.backend, self.url = backend, url
        self.client = httpx.Client(base_url=url, timeout=60)
        self.driver = DRIVERS[backend](self.client)
        self.server = self._version()

    def __enter__(self) -> Studio:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()

    def record(self, case: Case, mode: Mode) -> Recording:
        """Bring about the case, record its last resume, and write the file."""
        recording = Recording(self.backend, case.file_name(mode), tidy(self._record(case, mode)))
        print(recording, flush=True)
        write(recording)
        return recording

    def _record(self, case: Case, mode: Mode) -> Document:
        for _ in range(5):  # a loaded machine makes any stream late
            thread = self._bring_about(case)
            body = {"thread_id": thread, **self._filled_in(case.body, thread)}
            headers = self._filled_in(case.headers, thread)
            recorder, reply = self._resume(mode, body, headers, settle=case.settle, late=case.late)
            if recorder.late == case.late:
                return {
                    "backend": self.backend,
                    "server": self.server,
                    "settle": case.settle,
                    "client": {"mode": mode.name.lower(), "headers": headers, "body": body},
                    "exchanges": recorder.exchanges,
                    "reply": reply.write(),
                }
        raise RuntimeError(f"{self.backend} is too slow: the stream of {case.name} was late five times")

    def _bring_about(self, case: Case) -> str:
        thread = self.driver.thread()
        if case.agent is not None:
            state = {"topic": "lunch", **self._filled_in(case.state, thread)}
            self.driver.start(case.agent, state, wait=case.settles, on=thread)
        for body in case.earlier:
            self._resume(Mode.WAIT, {"thread_id": thread, **self._filled_in(body, thread)})
        if case.cancelled is not None:
            _, reply = self._resume(Mode.BACKGROUND, {"thread_id": thread, **case.cancelled})
            eventually(lambda: self.driver.status(thread) == "busy", "the run starts")
            self.driver.cancel(thread, reply.write()["body"]["run_id"])
            eventually(lambda: self.driver.status(thread) != "busy", "the run is cancelled")
        return thread

    def _resume(
        self,
        mode: Mode,
        body: Body,
        headers: dict[str, str] | None = None,
        *,
        settle: float = 1.0,
        late: bool = False,
    ) -> tuple[Recorder, Heard]:
        async def resume() -> tuple[Recorder, Heard]:
            proxy = ReverseProxy(self.url)
            recorder = Recorder(proxy, late=late)
            shim = ResumeShim(recorder, load_dialect(self.backend), settle=settle)
            try:
                return recorder, await call(shim, "PATCH", mode.route, headers or {}, strictjson.dumps(body))
            finally:
                await proxy.aclose()

        return asyncio.run(resume())

    def _filled_in(self, value: dict[str, Any], thread: str) -> dict[str, Any]:
        """The value of a case, with what its placeholders stand for."""
        text = json.dumps(value)
        for agent in set(re.findall(r"<id of (\w+)>", text)):
            text = text.replace(f"<id of {agent}>", self.driver.agent_id(agent))
        if "<first>" in text or "<second>" in text:
            first, second = self._pending(thread)
            text = text.replace("<first>", first).replace("<second>", second)
        filled: dict[str, Any] = json.loads(text.replace("<new>", str(uuid.uuid4())))
        return filled

    def _pending(self, thread: str) -> list[str]:
        """The ids of the questions that wait, in the order of their texts, as the shim tells them."""
        _, reply = self._resume(Mode.WAIT, {"thread_id": thread, "input": "which?"})
        asked = reply.write()["body"]["metadata"]["interrupts"]
        return [item["id"] for item in sorted(asked, key=lambda item: str(item["value"]))]

    def _version(self) -> str:
        info = self.client.get("/info")
        about = info if info.is_success else self.client.get("/openapi.json")
        value: dict[str, Any] = about.raise_for_status().json()
        return str(value["version"] if info.is_success else value["info"]["version"])


def laid_out(value: Any, margin: str = "") -> str:
    """JSON for readers: what fits on a line stands on one."""
    line = json.dumps(value, ensure_ascii=False)
    if len(margin + line) <= 110 or not isinstance(value, dict | list):
        return line
    inner = margin + " "
    if isinstance(value, list):
        items = [inner + laid_out(item, inner) for item in value]
    else:
        items = [
            f"{inner}{json.dumps(key, ensure_ascii=False)}: {laid_out(item, inner)}" for key, item in value.items()
        ]
    opening, closing = "[]" if isinstance(value, list) else "{}"
    return opening + "\n" + ",\n".join(items) + f"\n{margin}{closing}"


_LEAK = re.compile(
    r"127\.0\.0\.1|localhost|/(?:home|root|tmp|usr|Users)/|\.py\b|\.mjs\b|file://|site-packages|node_modules"
    rf"|{re.escape(str(Path.cwd()))}|\b{re.escape(socket.gethostname())}\b"
)
"""What may not stand in a file."""


if __name__ == "__main__":
    main(sys.argv[1:])
