"""One resume of a thread at a time, through the whole shim."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from ap_resume_shim import MemoryGuard, ResumeShim
from ap_resume_shim.guard import ResumeKey
from tests.guard.conftest import claims
from tests.support.agent import PROTOCOL, Agent, at_once, held, reply, resume, says, shimmed, streamed
from tests.support.serving import serving
from tests.support.waiting import eventually


@pytest.mark.parametrize("route", ["", "/wait", "/stream"])
def test_of_concurrent_resumes_exactly_one_is_forwarded(route: str) -> None:
    with shimmed(agent := Agent(held)) as url, ThreadPoolExecutor(8) as pool:
        calls = [pool.submit(resume, url, route) for _ in range(8)]
        eventually(lambda: sum(call.done() for call in calls) == 7)
        agent.go.set()
        answers = [call.result() for call in calls]
    assert (len(agent.resumes), sum(answer.status_code == 200 for answer in answers)) == (1, 1)
    assert {answer.json()["code"] for answer in answers if answer.status_code == 409} == {"resume_in_progress"}


FAILURES: dict[str, Any] = {
    "refused": says(b"{}", kind="application/json", status=422),
    "failed": says(b"{}", kind="application/json", status=500),
    "raised": lambda agent, receive, send: raises(),
    "broken": says(ValueError("broken")),
}


async def raises() -> None:
    raise ValueError("raised")


@pytest.mark.parametrize("end", FAILURES)
def test_a_hold_is_dropped_after_a_failure(end: str) -> None:
    with shimmed(agent := Agent(FAILURES[end]), commit=0.1) as url:
        assert resume(url).status_code >= 400
        agent.answering, agent.status = at_once, "interrupted"
        eventually(lambda: resume(url).status_code == 200)


def test_a_hold_is_dropped_when_the_client_leaves() -> None:
    with shimmed(agent := Agent(says(b"event: metadata\n", None))) as url:
        with streamed(url):
            pass
        eventually(lambda: agent.left.is_set())
        agent.answering, agent.status = at_once, "interrupted"
        assert resume(url).status_code == 200


def test_a_refused_lookup_holds_nothing() -> None:
    guard = MemoryGuard()
    with serving(ResumeShim(Agent(), PROTOCOL, guard=guard)) as url:
        assert resume(url, thread_id="unknown").status_code == 404
    assert not guard._threads


def test_threads_of_two_loops_do_not_wait_for_each_other() -> None:
    guard = MemoryGuard()

    async def one() -> bool:
        return await claims(guard.begin(ResumeKey("t")))

    assert (asyncio.run(one()), asyncio.run(one())) == (True, False)


class Owned(Agent):
    """A thread that everybody may read, and only its owner may resume; it asks another question each time."""

    @property
    def thread(self) -> dict[str, Any]:
        asks = [{"id": f"q{len(self.resumes)}", "value": "sure?"}] if self.status == "interrupted" else []
        return {**super().thread, "interrupts": asks}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        reads = (b"authorization", b"reader") in scope["headers"]
        if reads and scope["path"] == "/runs":
            await asyncio.sleep(0.02)
            await reply(send, {"detail": "You may only read this thread."}, 403)
        else:
            await super().__call__(scope, receive, send)


def test_a_caller_who_may_only_read_cannot_lock_others_out_by_asking_in_a_loop() -> None:
    over = threading.Event()

    def ask_in_a_loop(url: str) -> set[int]:
        statuses = set()
        while not over.is_set():
            statuses.add(resume(url, headers={"authorization": "reader"}).status_code)
        return statuses

    owned = Owned()
    with serving(ResumeShim(owned, PROTOCOL)) as url, ThreadPoolExecutor(3) as pool:
        readers = [pool.submit(ask_in_a_loop, url) for _ in range(3)]
        try:
            for _ in range(10):
                owned.status = "interrupted"
                answer = resume(url, headers={"authorization": "owner"})
                assert answer.status_code == 200, answer.text
                eventually(lambda: owned.status == "idle")
        finally:
            over.set()
    assert 403 in set().union(*(reader.result() for reader in readers))


UUID = "6a1b2c3d-0000-4000-8000-00000000000f"
SPELLINGS = (UUID, UUID.upper(), UUID.replace("-", ""), f"{{{UUID}}}", f"urn:uuid:{UUID}")


def test_of_resumes_of_one_thread_in_several_spellings_exactly_one_is_forwarded() -> None:
    """A server whose `thread_id` is a UUID takes them for one thread; all looks come before the resume."""

    class Asking(Agent):
        @property
        def thread(self) -> dict[str, Any]:
            return {**super().thread, "status": "interrupted", "interrupts": [{"id": "q1", "value": "sure?"}]}

    with shimmed(agent := Asking(held)) as url, ThreadPoolExecutor(5) as pool:
        calls = [pool.submit(resume, url, thread_id=spelling) for spelling in SPELLINGS]
        eventually(lambda: sum(call.done() for call in calls) == 4)
        agent.go.set()
        answers = [call.result() for call in calls]
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409, 409]
    assert len(agent.resumes) == 1


def test_a_retry_in_another_spelling_is_the_same() -> None:
    with shimmed(agent := Agent()) as url:
        answers = [resume(url, headers={"Idempotency-Key": "k"}, thread_id=spelling) for spelling in SPELLINGS]
    assert {answer.text for answer in answers} == {answers[0].text}
    assert [answer.headers.get("idempotency-replayed") for answer in answers] == [None, "true", "true", "true", "true"]
    assert len(agent.resumes) == 1
