"""Pages in a real browser, of another origin than the sidecar, against a backend that has never heard of PATCH."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import pytest

from ap_resume_shim.demo.legacy_server.agents import AGENTS
from tests.browser.backend import Backend
from tests.browser.chromium import Pages, pages
from tests.support.serving import serving
from tests.support.sidecar import sidecar
from tests.support.waiting import eventually
from tests.test_docs import ROOT, blocks

HOW_TO = ROOT / "docs/how-to/browsers.md"


@dataclass(frozen=True)
class World:
    """A backend with a sidecar before it, and an origin whose pages may use them."""

    backend: Backend
    upstream: str
    shim: str
    pages: Pages

    def run(self, scenario: str, **given: Any) -> Any:
        """What a scenario returns, run by a page whose user has logged in."""
        return self.pages.run(f"await logIn();\n{scenario}", **{"SHIM": self.shim, **given})


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """The sidecar is started as the how-to says."""
    (command,) = blocks(HOW_TO, "bash")
    words = shlex.split(command)
    assert words[:3] + words[4:] == ["ap-resume-shim", "serve", "--upstream", "--cors", "https://app.example"]
    with pages() as origin, patch.dict(AGENTS):
        backend = Backend(origin.origin)
        AGENTS["told"] = backend.agent
        with serving(backend.app) as upstream:
            options = ("--backend", "agent-protocol", "--settle", "0", "--cors", origin.origin)
            with sidecar("--upstream", upstream, "--port", "0", *options) as shim:
                yield World(backend, upstream, shim.url, origin)


@pytest.mark.parametrize("route", ["", "/wait"])
def test_a_page_resumes_with_its_cookies_and_may_read_what_names_the_run(world: World, route: str) -> None:
    before = world.backend.asked_for(f"/runs/resume{route}")
    answer = world.run(
        """
        const thread_id = await asked("ask");
        const headers = { "idempotency-key": crypto.randomUUID(), traceparent: "00-1-1-00" };
        return told(await resume(ROUTE, { thread_id }, { headers }));
        """,
        ROUTE=route,
    )
    assert (answer["status"], answer["type"]) == (200, "application/json")
    run = answer["body"].get("run", answer["body"])
    assert answer["location"] == f"/runs/{run['run_id']}"
    assert world.backend.asked_for(f"/runs/resume{route}") == before, "what the backend allows is of no interest"


def test_without_the_option_the_browser_refuses(world: World) -> None:
    """What the option is for, and the proof that this browser asks."""
    scenario = 'return resume("", { thread_id: await asked("ask") }).catch((error) => error.name)'
    with sidecar("--upstream", world.upstream, "--port", "0", "--backend", "agent-protocol") as shim:
        assert world.run(scenario, SHIM=shim.url) == "TypeError"
    assert world.backend.asked_for("/runs/resume") == ["OPTIONS"]


def test_a_page_of_an_origin_that_is_not_named_is_refused(world: World) -> None:
    with pages() as strangers:
        scenario = 'return resume("", { thread_id: "any" }).catch((error) => error.name)'
        assert strangers.run(scenario, SHIM=world.shim) == "TypeError"


def test_a_page_may_read_why_it_was_refused(world: World) -> None:
    unknown, idle, busy, nobody = world.run(
        """
        const thread_id = await asked("told");
        const results = [await told(await resume("/wait", { thread_id: "unknown" }))];
        const { thread_id: idle } = await (await post("/threads")).json();
        results.push(await told(await resume("/stream", { thread_id: idle })));
        await resume("", { thread_id });
        results.push(await told(await resume("", { thread_id })));
        await go();
        results.push(await told(await resume("", { thread_id }, { credentials: "omit" })));
        return results;
        """
    )
    assert (unknown["status"], unknown["body"]["code"]) == (404, "thread_not_found")
    assert (idle["status"], idle["body"]["code"]) == (409, "thread_not_interrupted")
    assert (busy["status"], busy["later"]) == (409, "1")
    assert busy["body"]["code"] in ("thread_busy", "resume_in_progress")
    assert (nobody["status"], nobody["body"]["code"]) == (401, "unauthorized")


def test_a_page_may_read_that_an_answer_is_an_earlier_one(world: World) -> None:
    first, second = world.run(
        """
        const [body, headers] = [{ thread_id: await asked("ask") }, { "idempotency-key": crypto.randomUUID() }];
        const once = async () => told(await resume("/wait", body, { headers }));
        return [await once(), await once()];
        """
    )
    assert (first["replayed"], second["replayed"]) == (None, "true")
    assert second["body"] == first["body"]


def test_a_page_reads_a_stream_while_the_agent_works(world: World) -> None:
    """The agent goes on when the page says that it has read the first step: held back, neither would come."""
    early, late = world.run(
        """
        const answer = await resume("/stream", { thread_id: await asked("told"), stream_mode: ["updates"] });
        const reader = reading(answer);
        const early = await read(reader, '"one"');
        await go();
        return [early, await read(reader)];
        """
    )
    assert early.startswith("event: metadata")
    assert '"other"' not in early
    assert '"other"' in late


def test_the_how_to_reads_a_stream(world: World) -> None:
    (code,) = blocks(HOW_TO, "javascript")
    shown = world.run(
        f"""
        const [thread_id, shown] = [await asked("ask"), []];
        const show = (event) => shown.push(event.split("\\n")[0]);
        {code.replace("http://127.0.0.1:8063", world.shim)}
        return shown;
        """
    )
    assert [line.strip() for line in shown] == ["event: metadata", "event: values"]


@pytest.mark.parametrize(("wish", "end"), [("cancel", "interrupted"), ("continue", "success")])
def test_a_page_that_aborts_its_stream_stops_the_run_unless_it_wants_it_to_go_on(
    world: World, wish: str, end: str
) -> None:
    run = world.run(
        """
        const leaving = new AbortController();
        const body = { thread_id: await asked("told"), stream_mode: ["updates"], on_disconnect: WISH };
        const answer = await resume("/stream", body, { signal: leaving.signal });
        const reader = reading(answer);
        await read(reader, '"one"');
        leaving.abort();
        const error = await read(reader).catch((error) => error.name);
        if (WISH === "continue") await go();
        const run = `${SHIM}${answer.headers.get("content-location")}`;
        const ended = await (await fetch(`${run}/wait`, { credentials: "include" })).json();
        return { error, status: ended.run.status, done: ended.values.done ?? false };
        """,
        WISH=wish,
    )
    assert run == {"error": "AbortError", "status": end, "done": end == "success"}


def test_event_source_on_a_route_of_the_backend_is_live_and_comes_back(world: World) -> None:
    events = world.run(
        """
        const source = new EventSource(`${SHIM}/feed`, { withCredentials: true });
        const next = hearing(source, "message", "error");
        const events = [(await next()).data];
        await go();
        for (const _ of ["the second", "the end", "the one after coming back"]) {
          const event = await next();
          events.push(event.data ?? event.type);
        }
        source.close();
        return events;
        """
    )
    assert events == ["first", "second", "error", "again after 2"]


def test_a_websocket_goes_through(world: World) -> None:
    result = world.run(
        """
        const open = async () => {
          const socket = new WebSocket(SHIM.replace("http", "ws") + "/echo", ["one", "two"]);
          socket.binaryType = "arraybuffer";
          const next = hearing(socket, "open", "message", "close");
          const { type } = await next();
          if (type !== "open") throw `${type} before it was open`;
          return [socket, next];
        };
        const closed = ({ type, code, reason, wasClean }) => [type, code, reason, wasClean];

        const [[one, next], [another, last]] = [await open(), await open()];
        ["Grüße 🎈", new Uint8Array([0, 255, 10]), "x".repeat(1_000_000), "close"].forEach((each) => one.send(each));
        another.close(4001, "enough");
        return {
          protocol: one.protocol,
          text: (await next()).data,
          bytes: [...new Uint8Array((await next()).data)],
          large: (await next()).data.length,
          theirs: closed(await next()),
          ours: closed(await last()),
        };
        """
    )
    assert result == {
        "protocol": "two",
        "text": "Grüße 🎈",
        "bytes": [0, 255, 10],
        "large": 1_000_000,
        "theirs": ["close", 4002, "as you wish", True],
        "ours": ["close", 4001, "enough", True],
    }
    eventually(lambda: world.backend.closes == [(4001, "enough")])
