"""The configurations on the page about edge proxies: real proxies in front of a sidecar and its server."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]
from starlette.types import Receive, Scope, Send
from websockets.sync.client import connect

from ap_resume_shim.sidecar.settings_sources import read
from tests.differential.proxies import COMMANDS, PATHS, PEERS, need_peers, wait_for
from tests.servers.process import free_port
from tests.servers.run import script_environment
from tests.support.agent import METADATA, UNTIL_LEFT, Agent, resume, says, streamed
from tests.support.calling import CLIENT
from tests.support.programs import need
from tests.support.serving import serving
from tests.support.sidecar import Sidecar, sidecar
from tests.support.waiting import eventually
from tests.test_docs import ROOT, blocks

PAGE = ROOT / "docs/how-to/edge-proxy.md"
LANGUAGES = {"nginx": "nginx", "caddy": "caddyfile", "haproxy": "haproxy", "envoy": "yaml"}
NGINX = """
daemon off;
master_process off;
pid pid;
error_log log crit;
events {{ }}
http {{
  access_log off;
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;
  {}
}}
"""
CADDY = "{{\n\tadmin off\n\tauto_https off\n}}\n{}"


@dataclass
class Edge:
    """A running edge: its URL, the sidecar and the server behind it."""

    url: str
    shim: Sidecar
    agent: Agent


@contextmanager
def running(name: str, configuration: str, port: int) -> Iterator[str]:
    """Run one of the servers during the block; yield its URL."""
    with tempfile.TemporaryDirectory() as folder:
        file, log = Path(folder, "configuration"), Path(folder, "output")
        file.write_text(configuration)
        home = {"HOME": folder, "XDG_DATA_HOME": folder, "XDG_CONFIG_HOME": folder, "PATH": PATHS}
        with log.open("w") as output:
            process = subprocess.Popen(command(name, file), stdout=output, stderr=output, env={**os.environ, **home})
        try:
            wait_for(port, process, log)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.kill()
            process.wait()


def configured(name: str, *, server: str, shim: str, port: int) -> str:
    """The page's configuration with other addresses, as a whole file."""
    need_peers()
    code, *vendor = blocks(PAGE, LANGUAGES[name])
    if name == "envoy":
        for port_on_page, url in ((2024, server), (8063, shim), (8080, f":{port}")):
            assert f"port_value: {port_on_page}" in code
            code = code.replace(f"port_value: {port_on_page}", f"port_value: {url.rpartition(':')[2]}")
        return code.replace("0.0.0.0", "127.0.0.1")
    if vendor:  # goes into the server block
        code = re.sub(r"\n}\n$", "\n" + vendor[0] + "}\n", code)
    for written, real in {"127.0.0.1:2024": server, "127.0.0.1:8063": shim}.items():
        assert written in code
        code = code.replace(written, real.removeprefix("http://"))
    code = code.replace(":8080", f"127.0.0.1:{port}" if name == "haproxy" else f":{port}")
    code = code.replace("listen 8080", f"listen 127.0.0.1:{port}")
    return {"nginx": NGINX, "caddy": CADDY, "haproxy": "{}"}[name].format(code)


@cache
def envoy() -> str:
    """The path of Envoy."""
    script = Path(__file__).with_name("envoy.py")
    run = ["uv", "run", "--quiet", "--no-project", "--script", str(script)]
    return subprocess.run(run, capture_output=True, check=True, text=True, env=script_environment()).stdout.strip()


def command(name: str, file: Path) -> list[str]:
    if name != "envoy":
        return COMMANDS[name](file)
    options = ["--concurrency", "1", "--disable-hot-restart", "--log-level", "error", "--config-yaml", file.read_text()]
    return [envoy(), *options]


@pytest.fixture(params=[*PEERS, "envoy"])
def edge(request: pytest.FixtureRequest) -> Iterator[Edge]:
    port = free_port()
    with serving(agent := Agent()) as server:
        options = ("--upstream", server, "--backend", "agent-protocol", "--port", "0", "--vendor-resumes", "guard")
        with sidecar(*options) as shim:
            configuration = configured(request.param, server=server, shim=shim.url, port=port)
            with running(request.param, configuration, port) as url:
                yield Edge(url, shim, agent)


@pytest.mark.parametrize("route", ["", "/wait", "/stream"])
def test_the_three_routes_reach_the_shim(edge: Edge, route: str) -> None:
    assert resume(edge.url, route).is_success
    refused = resume(edge.url, route, thread_id="unknown")
    assert (refused.status_code, refused.json()["code"]) == (404, "thread_not_found")
    assert len(edge.agent.resumes) == 1


def test_other_requests_do_not_need_the_shim(edge: Edge) -> None:
    edge.shim.kill()
    assert CLIENT.get(f"{edge.url}/threads/t").json()["status"] == "interrupted"
    assert resume(edge.url).status_code >= 500
    assert edge.agent.resumes == []


def test_events_pass_as_they_come_and_the_end_of_the_client_reaches_the_server(edge: Edge) -> None:
    edge.agent.answering = says(METADATA, UNTIL_LEFT)
    with streamed(edge.url) as response:
        first = next(response.iter_raw())
    assert b"event: metadata" in first
    eventually(edge.agent.left.is_set, "the server notices that the client has left")


def test_a_websocket_passes(edge: Edge) -> None:
    async def echo(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": (await receive())["text"]})

    edge.agent.extra["/socket"] = echo
    with connect(f"{edge.url.replace('http:', 'ws:')}/socket", proxy=None) as client:
        client.send("hello")
        assert client.recv(10) == "hello"


@pytest.mark.parametrize("edge", ["nginx"], indirect=True)
@pytest.mark.parametrize("path", ["/runs", "/runs/wait", "/runs/stream", "/runs/crons", "/commands"])
def test_the_answers_of_langgraphs_clients_reach_the_shim(edge: Edge, path: str) -> None:
    edge.shim.kill()
    assert CLIENT.post(f"{edge.url}/threads/t{path}", json={}).status_code == 502
    assert CLIENT.post(f"{edge.url}/threads/t{path}/more", json={}).status_code == 200


def test_the_check_shows_that_the_shim_responds(edge: Edge) -> None:
    need("curl", required="AP_TEST_PROXIES")
    _, check = blocks(PAGE, "bash")
    thread = "00000000-0000-4000-8000-000000000000"
    assert thread in check
    check = check.replace("http://127.0.0.1:8080", edge.url).replace(thread, "unknown")
    shown = subprocess.run(["bash", "-c", check], capture_output=True, check=True, text=True).stdout
    assert '"code":"thread_not_found"' in shown.replace(" ", "")


def test_the_page_starts_the_sidecar_with_settings_that_exist() -> None:
    serve, _ = blocks(PAGE, "bash")
    assert read(serve.split()[2:]).port == 8063


def test_the_page_has_no_other_blocks_than_these() -> None:
    fences = re.findall(r"^```(\w+)$", PAGE.read_text(), re.MULTILINE)
    assert fences == ["bash", "nginx", "caddyfile", "haproxy", *["yaml"] * 3, "bash", "nginx"]


RESUMES = ["/runs/resume", "/runs/resume/wait", "/runs/resume/stream"]


def test_the_routes_in_kubernetes_are_those_of_the_page() -> None:
    _, route, ingress = (yaml.safe_load(code) for code in blocks(PAGE, "yaml"))
    resumes, others = route["spec"]["rules"]
    assert [match["path"] for match in resumes["matches"]] == [{"type": "Exact", "value": path} for path in RESUMES]
    assert [match["path"] for match in others["matches"]] == [{"type": "PathPrefix", "value": "/"}]
    assert resumes["backendRefs"] == [{"name": "shim", "port": 8063}]
    assert others["backendRefs"] == [{"name": "agents", "port": 2024}]
    (rule,) = ingress["spec"]["rules"]
    services = {(each["path"], each["pathType"]): each["backend"]["service"] for each in rule["http"]["paths"]}
    shim, agents = {"name": "shim", "port": {"number": 8063}}, {"name": "agents", "port": {"number": 2024}}
    assert services == {**{(path, "Exact"): shim for path in RESUMES}, ("/", "Prefix"): agents}
