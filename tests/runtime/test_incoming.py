"""What is read of a PATCH: its body, its header fields, and the names of its thread and its caller."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ap_resume_shim.core.errors import InvalidRequest
from ap_resume_shim.core.protocol import Mode
from ap_resume_shim.runtime.bodies import Bodies
from ap_resume_shim.runtime.client import Client
from ap_resume_shim.runtime.incoming import IncomingResume
from ap_resume_shim.runtime.naming import Naming
from ap_resume_shim.runtime.offload import LARGE
from ap_resume_shim.runtime.resume_log import ResumeLine
from tests.support.agent import PROTOCOL
from tests.support.calling import Call, http

pytestmark = pytest.mark.anyio

NAMING = Naming(PROTOCOL, "here", ("authorization",), share_ledger=False, window=0.0)
SPELLINGS = ("8E03978E-40D5-43E8-BC93-6894A57F9324", "8e03978e40d543e8bc936894a57f9324")


async def read(
    mode: Mode = Mode.WAIT, naming: Naming = NAMING, headers: dict[str, str] | None = None, **body: Any
) -> IncomingResume:
    fields = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
    scope, call = http("PATCH", headers=fields), Call(json.dumps({"thread_id": "t", "input": "yes", **body}).encode())
    line = ResumeLine(scope, mode, Client(scope, call.receive, call.send, base=""))
    with Bodies(2 * LARGE, 2 * LARGE).body() as held:
        return await IncomingResume.read(scope, call.receive, mode=mode, body=held, naming=naming, line=line)


async def test_body_mode_and_the_pinned_interrupt_are_read() -> None:
    incoming = await read(Mode.STREAM, headers={"ap-interrupt-id": "q1"})
    resume = incoming.resume
    assert (resume.mode, resume.thread_id, resume.body.interrupt_id) == (Mode.STREAM, "t", "q1")
    assert resume.now and resume.nonce


@pytest.mark.parametrize(
    ("mode", "on_disconnect", "cancels"),
    [
        (Mode.WAIT, "cancel", True),
        (Mode.STREAM, "cancel", True),
        (Mode.STREAM, "continue", False),
        (Mode.BACKGROUND, "cancel", False),
    ],
)
async def test_a_client_that_leaves_cancels_what_it_waits_for(mode: Mode, on_disconnect: str, cancels: bool) -> None:
    assert (await read(mode, on_disconnect=on_disconnect)).cancels is cancels


@pytest.mark.parametrize(("size", "large"), [(1, False), (LARGE, True)])
async def test_a_large_body_is_marked(size: int, large: bool) -> None:
    assert (await read(input="x" * size)).large is large


async def test_a_key_is_that_of_its_caller() -> None:
    keyed = {"idempotency-key": "k", "authorization": "one"}
    first, again = await read(headers=keyed), await read(headers=keyed)
    other = await read(headers={**keyed, "authorization": "another"})
    assert first.key == again.key
    assert first.key.thread == other.key.thread
    assert first.key.key != other.key.key and first.key.secret != other.key.secret


async def test_without_a_key_nothing_is_kept_or_recognised() -> None:
    key = (await read()).key
    assert (key.key, key.fingerprint, key.repeat) == (None, "", None)


async def test_repeats_are_recognised_where_they_are_refused() -> None:
    naming = Naming(PROTOCOL, "here", (), share_ledger=False, window=5.0)
    one, again, another = await read(naming=naming), await read(naming=naming), await read(naming=naming, input="no")
    assert one.key.repeat == again.key.repeat != another.key.repeat


async def test_spellings_of_a_uuid_are_one_thread_to_the_guard() -> None:
    one, other = [await read(thread_id=spelling) for spelling in SPELLINGS]
    assert one.key.thread == other.key.thread


async def test_a_key_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="Idempotency-Key"):
        await read(headers={"idempotency-key": ""})
