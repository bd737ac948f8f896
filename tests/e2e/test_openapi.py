"""What the merged OpenAPI file says of the three routes is true: Schemathesis generates requests from it.

The threads of the requests are interrupted, idle, unknown, or whatever was generated.
"""

from __future__ import annotations

import re
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi import checks

from ap_resume_shim import ResumeShim
from ap_resume_shim.core.protocol import Mode
from ap_resume_shim.demo import create_app
from tests.e2e.drivers import DRIVERS
from tests.e2e.placements import exists
from tests.servers.run import running
from tests.support.calling import CLIENT
from tests.support.matrix import chosen
from tests.support.serving import serving
from tests.support.sidecar import sidecar
from tests.support.world import Place, World

CHOSEN = chosen("AP_TEST_BACKENDS", ("langgraph", "agent-protocol"))
WITHOUT_FILE = ("langgraph-js",)
SCHEMA = checks.response_schema_conformance
CHECKS = [
    SCHEMA,
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
]


class Threads:
    """One thread of each kind; the interrupted one is replaced once it was resumed."""

    kinds = ("interrupted", "idle", "unknown")

    def __init__(self, world: World) -> None:
        self._world = world
        self._threads: dict[str, str] = {
            "idle": world.client.post("/threads", json={}).json()["thread_id"],
            "unknown": str(uuid.uuid4()),
        }

    def of(self, kind: str) -> str:
        """The id of a thread of this kind."""
        if kind not in self._threads:
            self._threads[kind] = str(self._world.thread())
        return self._threads[kind]

    def resumed(self) -> None:
        """The interrupted thread is interrupted no longer."""
        self._threads.pop("interrupted", None)


@pytest.fixture(scope="module", params=[name for name in CHOSEN if name not in WITHOUT_FILE])
def merged(request: pytest.FixtureRequest) -> Iterator[World]:
    """A backend behind a shim that merges: the legacy server in process, a real one behind the sidecar."""
    backend = request.param
    with ExitStack() as stack:
        if backend == "agent-protocol":
            url = stack.enter_context(serving(ResumeShim(create_app(), merge_openapi=True)))
        else:
            upstream = stack.enter_context(running(backend))
            url = stack.enter_context(sidecar("--upstream", upstream, "--port", "0", "--merge-openapi")).url
        yield stack.enter_context(World(Place(url, list), DRIVERS[backend]))


@pytest.mark.parametrize("backend", [name for name in CHOSEN if exists("inside", name)])
def test_the_shim_inside_a_server_merges_too(backend: str) -> None:
    with running(backend, inside=True) as url:
        file = CLIENT.get(f"{url}/openapi.json").json()
    assert {mode.route for mode in Mode} < set(file["paths"])


@pytest.mark.parametrize("backend", [name for name in CHOSEN if name in WITHOUT_FILE])
def test_a_server_without_the_file_answers_as_before(backend: str) -> None:
    with running(backend) as upstream, sidecar("--upstream", upstream, "--port", "0", "--merge-openapi") as shim:
        own, response = (CLIENT.get(f"{url}/openapi.json") for url in (upstream, shim.url))
    assert (response.status_code, response.content) == (404, own.content)


def test_no_response_contradicts_the_merged_file(merged: World, mode: Mode) -> None:
    file = merged.client.get("/openapi.json").json()
    operation = schemathesis.openapi.from_dict(file)[mode.route]["PATCH"]
    codes = {
        int(status): re.findall("- `(.+?)`", response["description"])
        for status, response in file["paths"][mode.route]["patch"]["responses"].items()
    }
    threads, statuses = Threads(merged), Counter[int]()

    def send(case: Case[Any], accept: str = "*/*") -> None:
        response = case.call(base_url=merged.place.url, headers={"accept": accept}, timeout=60)
        # Schemathesis compares each event with the schema, which is the draft's: the whole stream as a string.
        events = response.status_code == 200 and mode is Mode.STREAM
        case.validate_response(response, checks=[each for each in CHECKS if not (events and each is SCHEMA)])
        if events:
            assert re.match(rb'event: metadata\r?\ndata: {"run_id": ?"', response.content)
        statuses[response.status_code] += 1
        if response.status_code == 200:
            threads.resumed()
        else:
            assert response.json()["code"] in codes[response.status_code]

    # Without shrinking, which would take minutes with a real server.
    @settings(max_examples=30, phases=[Phase.generate], derandomize=True, suppress_health_check=list(HealthCheck))
    @given(
        st.one_of([operation.as_strategy(mode) for mode in GenerationMode]),
        st.sampled_from((*threads.kinds, None)),
        st.booleans(),
        st.sampled_from(("*/*", "application/problem+json")),
    )
    def generated(case: Case[Any], kind: str | None, plain: bool, accept: str) -> None:
        _set_thread(case, kind and threads.of(kind), plain=plain)
        send(case, accept)

    for kind in threads.kinds:
        send(operation.Case(body={"thread_id": threads.of(kind), "input": "yes"}, media_type="application/json"))
    assert statuses == {200: 1, 404: 1, 409: 1}
    generated()
    assert {200, 404, 409, 422} <= set(statuses), statuses


def _set_thread(case: Case[Any], thread: str | None, *, plain: bool) -> None:
    """Let a request name the thread. A plain one has an answer and no other field."""
    if not isinstance(case.body, dict):
        return
    case.body.pop("webhook", None)  # a server would call it
    if thread is not None:
        case.body["thread_id"] = thread
    if plain:
        rest: dict[str, Any] = {name: case.body[name] for name in ("thread_id", "stream_mode") if name in case.body}
        case.body = {**rest, "input": "yes"}
        case.headers.clear()
