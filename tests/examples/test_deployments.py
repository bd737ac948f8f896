"""The examples for edges, containers and replicas: real servers, started by the commands and values of each file."""

from __future__ import annotations

import re
import shlex
import subprocess
import textwrap
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from ap_resume_shim._shutdown import CLEANUP_TIMEOUT
from ap_resume_shim.sidecar.settings import Settings
from ap_resume_shim.sidecar.settings_sources import read
from tests.differential.test_edge import LANGUAGES, envoy
from tests.differential.test_edge import PAGE as EDGE_PAGE
from tests.examples.running import commands, environment, moved, responds, run, server
from tests.servers.process import free_port
from tests.servers.run import script_environment
from tests.support.agent import Agent, resume
from tests.support.programs import need
from tests.support.redis_server import need_redis, redis_server
from tests.support.serving import serving
from tests.support.sidecar import COMMAND, Sidecar, started
from tests.support.waiting import eventually
from tests.test_docs import ROOT, asked_thread, blocks


def validate(kind: str, file: Path) -> None:
    """Validate a file against the published schemas; `kind` is compose or kubernetes."""
    script = ["uv", "run", "--quiet", "--no-project", "--script", str(ROOT / "tests/examples/validate.py"), kind]
    ran = subprocess.run([*script, str(file)], env=script_environment(), capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr


EDGES = {"nginx": "nginx.conf", "caddy": "Caddyfile", "envoy": "envoy.yaml"}
ENVOY = "--concurrency 1 --disable-hot-restart --log-level error"


def the_edge_routes_resumes(name: str, folder: Path) -> None:
    """Run the file's commands; resumes go through the sidecar, other requests go past it."""
    if name != "envoy":
        need(name, required="AP_TEST_PROXIES", path=environment()["PATH"])
    file, port, shim_port = folder / EDGES[name], free_port(), free_port()
    with serving(agent := Agent()) as upstream:
        text = moved(file.read_text(), {2024: int(upstream.rpartition(":")[2]), 8063: shim_port, 8080: port})
        file.write_text(text)
        shim, edge = commands(file)
        if name == "caddy":
            file.write_text(f"{{\n\tadmin off\n}}\n{text}")  # Caddy's port for administrators may be taken
        if name == "envoy":
            edge = f"{envoy()} {edge.removeprefix('envoy ')} {ENVOY}"
        url, home = f"http://127.0.0.1:{port}", {"XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
        with server(edge, folder, f"{url}/threads/t", **home):
            with server(shim.replace("langgraph", "agent-protocol"), folder, f"http://127.0.0.1:{shim_port}/threads/t"):
                for route in ("", "/wait", "/stream"):
                    refused = resume(url, route, thread_id="unknown")
                    assert (refused.status_code, refused.json().get("code")) == (404, "thread_not_found"), route
                assert resume(url, "/wait").status_code == 200
            assert responds(f"{url}/threads/t"), "without the sidecar"
            assert resume(url).status_code >= 500
    assert len(agent.resumes) == 1


@pytest.mark.mutation("edge/nginx.conf", "(/wait|/stream)?$", "(/wait)?$")
def test_nginx_routes_resumes(examples: Path) -> None:
    the_edge_routes_resumes("nginx", examples / "edge")


@pytest.mark.mutation("edge/Caddyfile", " /runs/resume/stream", "")
def test_caddy_routes_resumes(examples: Path) -> None:
    the_edge_routes_resumes("caddy", examples / "edge")


@pytest.mark.mutation("edge/envoy.yaml", "(/wait|/stream)?", "(/wait)?")
def test_envoy_routes_resumes(examples: Path) -> None:
    the_edge_routes_resumes("envoy", examples / "edge")


@pytest.mark.parametrize("name", EDGES)
def test_the_edges_are_those_of_the_page(name: str) -> None:
    (code, *_) = blocks(EDGE_PAGE, LANGUAGES[name])
    assert (
        textwrap.indent(code, "    " if name == "nginx" else "") in (ROOT / "examples/edge" / EDGES[name]).read_text()
    )


@pytest.fixture(scope="module")
def store() -> Iterator[str]:
    """The URL of a real Redis."""
    need_redis()
    with redis_server() as redis:
        yield redis.url


def answers_once(sidecars: list[Sidecar], upstream: str) -> None:
    """With a key, the second of two sidecars responds as the first one did."""
    import httpx

    with httpx.Client(base_url=upstream) as agents:
        thread = asked_thread(agents)
    key = {"Idempotency-Key": '"7"'}
    first, again = (resume(shim.url, "/wait", key, thread_id=thread, input="approve") for shim in sidecars)
    assert (first.status_code, again.headers.get("idempotency-replayed")) == (200, "true"), again.text


@pytest.mark.mutation("compose/compose.yaml", "redis://redis:6379/0", "memory")
def test_the_containers_of_compose_answer_once(examples: Path) -> None:
    need_redis()
    file, port = examples / "compose/compose.yaml", free_port()
    validate("compose", file)
    services = yaml.safe_load(file.read_text())["services"]
    shim, agents = services["shim"], services["server"]["command"]
    assert set(shim["depends_on"]) == set(services) - {"shim"}
    assert "'ap_resume_shim[serve,redis]'" in shim["build"]["dockerfile_inline"], "what the command and the guard need"
    assert shim["environment"]["AP_RESUME_SHIM_HOST"] == "0.0.0.0", "else the published ports have no listener"
    assert lasts(shim["stop_grace_period"], Settings(upstream="http://server:2024"))
    redis, *options = shlex.split(services["redis"]["command"])
    assert redis == "redis-server"
    hosts = {"server:2024": f"127.0.0.1:{port}", "0.0.0.0": "127.0.0.1", "9000": "0"}
    settings = {name: str(value) for name, value in shim["environment"].items()}
    for host, real in hosts.items():
        settings = {name: value.replace(host, real) for name, value in settings.items()}
    assert shlex.split(shim["command"]) == ["ap-resume-shim", "serve"]
    count, ports = shim["deploy"]["replicas"], re.fullmatch(r"(\d+)-(\d+):8063", *shim["ports"])
    assert ports and int(ports[2]) - int(ports[1]) + 1 == count
    upstream = f"http://127.0.0.1:{port}"
    with (
        server(moved(agents.replace("0.0.0.0", "127.0.0.1"), {2024: port}), examples, f"{upstream}/agents/deploy"),
        redis_server(*options) as store,
        ExitStack() as stack,
    ):
        command = [*COMMAND, "serve", "--port", "0"]
        settings["AP_RESUME_SHIM_GUARD"] = settings["AP_RESUME_SHIM_GUARD"].replace("redis://redis:6379/0", store.url)
        sidecars = [stack.enter_context(started(command, settings)) for _ in range(count)]
        answers_once(sidecars, upstream)
        assert "may evict" not in sidecars[0].log
        healthy = shlex.join(shim["healthcheck"]["test"][1:]).replace(
            "http://127.0.0.1:9000", sidecars[0].health.removesuffix("/-")
        )
        run(healthy, examples)


@pytest.mark.mutation(
    "kubernetes/agents.yaml",
    "/-/healthz, port: health}\n          periodSeconds",
    "/-/readyz, port: health}\n          periodSeconds",
)
def test_the_pod_starts_and_is_ready_when_its_server_is(examples: Path, store: str) -> None:
    file = examples / "kubernetes/agents.yaml"
    validate("kubernetes", file)
    deployment, service = yaml.safe_load_all(file.read_text())
    pod = deployment["spec"]["template"]
    (shim,), (container,) = pod["spec"]["initContainers"], pod["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in shim["ports"]}
    settings = read(shim["args"][1:])
    assert (shim["restartPolicy"], shim["args"][0]) == ("Always", "serve")
    assert settings.namespace == deployment["metadata"]["name"], "the upstream is the same in each pod of the cluster"
    assert lasts(f"{pod['spec']['terminationGracePeriodSeconds']}s", settings)
    assert settings.upstream == f"http://127.0.0.1:{container['ports'][0]['containerPort']}"
    assert ports == {"shim": settings.port, "health": image_variables()["AP_RESUME_SHIM_HEALTH_PORT"]}
    assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    assert [port["targetPort"] for port in service["spec"]["ports"]] == ["shim"]
    port = free_port()
    args = [arg.replace("2024", str(port)).replace("redis://redis:6379/0", store) for arg in shim["args"]]
    with started([*COMMAND, *args, "--port", "0", "--health-port", "0"]) as sidecar:

        def succeeds(probe: str) -> bool:
            get = shim[probe]["httpGet"]
            assert get["port"] == "health"
            return responds(sidecar.health.removesuffix("/-") + get["path"]) is not None

        sidecar.wait_until_it_listens()
        assert succeeds("startupProbe"), "Kubernetes starts the server after this probe"
        assert succeeds("livenessProbe")
        assert not succeeds("readinessProbe"), "without the server"
        agents = f"uvicorn --factory ap_resume_shim.demo:create_app --port {port}"
        with server(agents, examples, f"http://127.0.0.1:{port}/agents/deploy"):
            eventually(lambda: succeeds("readinessProbe"), "the pod is ready")


def lasts(period: str, settings: Settings) -> bool:
    """True if a sidecar can end its requests within the period, such as `20s`."""
    return int(period.removesuffix("s")) > settings.timeout_graceful_shutdown + CLEANUP_TIMEOUT


def image_variables() -> dict[str, Any]:
    """Numbers among the variables of the image."""
    found = re.findall(r"(AP_RESUME_SHIM_\w+)=(\d+)\b(?!\.)", (ROOT / "Dockerfile").read_text())
    return {name: int(value) for name, value in found}


@pytest.mark.mutation("replicas/replicas.sh", "redis://127.0.0.1:6379/0", "memory")
def test_two_replicas_answer_once(examples: Path) -> None:
    need_redis()
    file = examples / "replicas/replicas.sh"
    file.write_text(moved(file.read_text(), {port: free_port() for port in (6379, 2024, 8063, 8064)}))
    (command,) = commands(file)
    _heading, accepted, refused, *_, again, replayed = run(command, file.parent).splitlines()
    assert [accepted.split(), refused.split()] == [["1", "200"], ["9", "409"]]
    assert [again.split(), replayed.split()] == [["200"], ["200", "true"]]
