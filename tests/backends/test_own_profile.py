"""A server that nobody has heard of, and a profile of it that was written from `docs/reference/profile.md` alone."""

from __future__ import annotations

import asyncio
import json
import re
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ap_resume_shim import ResumeShim, ReverseProxy
from ap_resume_shim.backends import read_profile
from ap_resume_shim.core.protocol import Mode
from ap_resume_shim.core.sse import Decoder
from ap_resume_shim.profiles.dialect import ProfileDialect
from ap_resume_shim.profiles.loading import load_profile
from tests.support.serving import serving

HOW_TO = Path(__file__).parents[2] / "docs/how-to/write-a-profile.md"

PROFILE = """\
name = "clinic"
thread_is = "A case."
unsupported = ["metadata", "config", "webhook", "on_completion"]
lookup.case.request = "GET /cases/{thread_id}"

[found]
status = "/case/phase"
interrupts = "/case/asks"
values = "/case/findings"
run_id = "/case/step"

[interrupt]
id = "/key"
value = "/text"

[status]
idle = ["open", "closed"]
busy = ["at work"]
interrupted = ["wants advice"]

[resume]
background = "PUT /cases/{thread_id}/advice"
answer = "/advice"
keyed = "always"
"""


class Clinic:
    """Cases are opened, worked on, and ask for advice; `advice` is what they were given, by the key of the question."""

    def __init__(self) -> None:
        self.cases: dict[str, dict[str, Any]] = {}
        self.advice: list[dict[str, Any]] = []
        routes = [
            Route("/cases", self.open, methods=["POST"]),
            Route("/cases/{case}", self.read),
            Route("/cases/{case}/advice", self.advise, methods=["PUT"]),
        ]
        self.app = Starlette(routes=routes)

    async def open(self, request: Request) -> Response:
        """A case that wants advice on so many questions at once."""
        asks = [{"key": uuid.uuid4().hex[:6], "text": f"{n}?"} for n in range((await request.json())["questions"])]
        case: dict[str, Any] = {
            "case": uuid.uuid4().hex,
            "phase": "wants advice" if asks else "open",
            "asks": asks,
            "findings": {},
        }
        self.cases[case["case"]] = case
        return JSONResponse(case)

    async def read(self, request: Request) -> Response:
        case = self.cases.get(request.path_params["case"])
        return Response("no such case", 404) if case is None else JSONResponse(case)

    async def advise(self, request: Request) -> Response:
        """Take any advice at any time, as servers do."""
        case, advice = self.cases[request.path_params["case"]], (await request.json())["advice"]
        self.advice.append(advice)
        case |= {
            "phase": "at work",
            "step": uuid.uuid4().hex,
            "asks": [a for a in case["asks"] if a["key"] not in advice],
        }
        asyncio.get_running_loop().call_later(0.3, self.conclude, case, advice)
        return JSONResponse({"run_id": case["step"]})

    @staticmethod
    def conclude(case: dict[str, Any], advice: dict[str, Any]) -> None:
        case |= {"phase": "wants advice" if case["asks"] else "closed", "findings": {**case["findings"], **advice}}


class World:
    """The clinic, the shim in front of it, and a client."""

    def __init__(self, clinic: Clinic, client: httpx.Client) -> None:
        self.clinic, self.client = clinic, client

    def case(self, questions: int = 1) -> tuple[str, list[str]]:
        told = self.client.post("/cases", json={"questions": questions}).json()
        return told["case"], [asked["key"] for asked in told["asks"]]

    def resume(self, mode: Mode, case: str, **body: Any) -> httpx.Response:
        return self.client.patch(mode.route, json={"thread_id": case, **body})

    @property
    def advice(self) -> list[dict[str, Any]]:
        return self.clinic.advice


@pytest.fixture(scope="module")
def clinic_world() -> Iterator[World]:
    clinic = Clinic()
    with serving(clinic.app) as server:
        shim = ResumeShim(ReverseProxy(server), ProfileDialect(load_profile(PROFILE)))
        with serving(shim) as url, httpx.Client(base_url=url, timeout=20) as client:
            yield World(clinic, client)


@pytest.fixture
def world(clinic_world: World) -> World:
    clinic_world.advice.clear()
    return clinic_world


def test_it_is_short() -> None:
    assert len([line for line in PROFILE.splitlines() if line]) < 25


@pytest.mark.parametrize("value", [None, False, 0, "", [], {}, {"0" * 32: 1}, "yes"], ids=json.dumps)
def test_every_value_arrives(world: World, value: Any) -> None:
    case, (key,) = world.case()
    answer = world.resume(Mode.WAIT, case, input=value)
    assert answer.status_code == 200, answer.text
    assert world.advice == [{key: value}]
    assert (answer.json()["run"]["status"], answer.json()["values"]) == ("success", {key: value})


def test_a_stream_is_made_of_what_there_is(world: World) -> None:
    case, (key,) = world.case()
    events = Decoder().feed(world.resume(Mode.STREAM, case, input="yes").content)
    assert [event.name for event in events if event.data] == ["metadata", "values"]
    assert events[-1].json == {key: "yes"}


def test_a_background_resume_is_a_run(world: World) -> None:
    case, _ = world.case()
    run = world.resume(Mode.BACKGROUND, case, input="yes").json()
    assert (run["status"], run["run_id"]) == ("pending", world.clinic.cases[case]["step"])


def test_some_of_several_questions_may_be_answered(world: World) -> None:
    case, (one, other) = world.case(2)
    bare = world.resume(Mode.WAIT, case, input="yes")
    assert (bare.status_code, bare.json()["code"]) == (409, "multiple_interrupts")
    answer = world.resume(Mode.WAIT, case, input={other: "yes"}).json()
    assert answer["run"]["status"] == "interrupted"
    assert answer["run"]["metadata"]["interrupts"] == [{"id": one, "value": "0?"}]


@pytest.mark.parametrize("mode", Mode)
def test_of_six_at_once_one_is_sent(world: World, mode: Mode) -> None:
    case, _ = world.case()
    with ThreadPoolExecutor(6) as pool:
        codes = [answer.status_code for answer in pool.map(lambda n: world.resume(mode, case, input=n), range(6))]
    assert sorted(codes) == [200, 409, 409, 409, 409, 409]
    assert len(world.advice) == 1


def test_what_makes_no_sense_is_refused(world: World) -> None:
    for case, status, code in (
        ("nobody", 404, "thread_not_found"),
        (world.case(0)[0], 409, "thread_not_interrupted"),
    ):
        answer = world.resume(Mode.WAIT, case, input="yes")
        assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert world.advice == []


def test_the_profile_of_the_how_to_is_one(tmp_path: Path) -> None:
    first, second = re.findall(r"^```toml\n(.*?)^```", HOW_TO.read_text(), re.DOTALL | re.MULTILINE)
    (tmp_path / "tasks.toml").write_text(f"{first}\n{second}")
    assert read_profile(tmp_path / "tasks.toml").name == "tasks"
