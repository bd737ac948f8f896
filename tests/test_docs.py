"""Every code block of the README, the tutorial and the how-tos runs."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import types
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from ap_resume_shim import ConfigurationError, ResumeShim
from ap_resume_shim.backends import backend_names, load_backend
from ap_resume_shim.demo import create_app
from ap_resume_shim.sidecar.app import check
from ap_resume_shim.sidecar.settings_sources import read
from ap_resume_shim.tools.report import lines
from tests.families.page import HEADING, modes_of, page_of
from tests.servers.process import free_port
from tests.support.certificates import Authority
from tests.support.redis_server import need_redis, redis_server
from tests.support.serving import serving
from tests.support.sidecar import sidecar, sidecars
from tests.support.waiting import eventually

ROOT = Path(__file__).parent.parent
REPLICAS = ROOT / "docs/how-to/replicas.md"
"""Its blocks need servers: they have tests of their own."""
FRAMEWORKS = ROOT / "docs/how-to/frameworks.md"
"""Its blocks need other packages: `tests/frameworks` runs them."""
NAMED = "redis://127.0.0.1:6379/0"
"""The store that it names."""
HOW_TOS = sorted({*ROOT.glob("docs/how-to/*.md")} - {REPLICAS, FRAMEWORKS})


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of one language, but for files, which follow a line with a path alone, such as `a/b.md`:"""
    block = rf"(?:^(`\S+/\S+`):\n\n)?^```{language}\n(.*?)^```"
    return [code for file, code in re.findall(block, page.read_text(), re.DOTALL | re.MULTILINE) if not file]


def run(code: str, **names: Any) -> dict[str, Any]:
    """Run a block as a module, so that what it defines can be looked at."""
    module = types.ModuleType("block")
    module.__dict__.update(names)
    exec(compile(code, "block", "exec"), module.__dict__)
    return module.__dict__


def asked_thread(client: Any) -> str:
    """A thread of the legacy server that waits for an answer."""
    thread_id = str(client.post("/threads", json={}).json()["thread_id"])
    client.post("/runs/wait", json={"thread_id": thread_id, "agent_id": "deploy", "input": {}})
    return thread_id


README = ROOT / "README.md"


def test_the_readme_is_short_and_has_no_other_blocks_than_these() -> None:
    text = README.read_text()
    assert len(text.splitlines()) < 120
    assert re.findall(r"^```(\w+)", text, re.MULTILINE) == ["bash", "python", "bash", "bash", "bash", "python"]


def test_the_readmes_links_lead_to_files_of_the_repository() -> None:
    for target in re.findall(r"\]\((?!https:)([^)]+)\)", README.read_text()):
        path, _, anchor = target.partition("#")
        assert (ROOT / path).exists(), path
        assert not anchor or anchor in anchors(ROOT / path), f"{path} has no #{anchor}"


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_readme_installs_this_package_with_extras_that_it_has() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    install, demo = blocks(README, "bash")[0].splitlines()
    for requirement in (shlex.split(install)[-1], *re.findall(r"'(\S+\[\w+\]) @ SOURCE'", README.read_text())):
        assert requirement in {f"{project['name']}[{extra}]" for extra in project["optional-dependencies"]}
    assert shlex.split(demo, comments=True) == ["ap-resume-shim", "demo"]


def test_the_readmes_middleware_answers_a_resume() -> None:
    import httpx

    app = run(blocks(README, "python")[0])["app"]
    with serving(app) as url, httpx.Client(base_url=url) as client:
        thread_id = asked_thread(client)
        answer = client.patch("/runs/resume/wait", json={"thread_id": thread_id, "input": "approve"})
    assert answer.json()["values"]["production"] == "4.2"


def test_the_readmes_curl_commands_answer_on_the_three_routes() -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    app, statuses = run(blocks(README, "python")[0])["app"], []
    with serving(app) as url:
        for command in blocks(README, "bash")[2].replace("http://127.0.0.1:8063", url).splitlines():
            words = [*shlex.split(command), "--silent", "--show-error", "--write-out", "\n%{http_code}"]
            statuses.append(
                subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()[-1]
            )
    assert statuses == ["200", "200", "200", "200", "409"]


def test_the_readmes_servers_are_started_with_flags_that_exist() -> None:
    import httpx

    install, start = blocks(README, "bash")[1].split("&&")
    assert shlex.split(install) == ["pip", "install", "uvicorn"]
    assert shlex.split(start) == ["uvicorn", "app:app", "--port", "8063"]
    words = shlex.split(blocks(README, "bash")[3])
    assert words[:3] == ["ap-resume-shim", "serve", "--upstream"]
    assert words[4:] == ["--port", "8063"]
    with (
        serving(create_app()) as upstream,
        sidecar("--upstream", upstream, "--port", "0") as shim,
        httpx.Client(base_url=shim.url) as client,
    ):
        body = {"thread_id": asked_thread(client), "input": "approve"}
        assert client.patch("/runs/resume/wait", json=body).status_code == 200


def test_the_readmes_langgraph_recipe_is_the_one_that_the_matrix_uses() -> None:
    assert '`"http": {"app": "./shim.py:app"}` in `langgraph.json`' in README.read_text()
    app = run(blocks(README, "python")[1])["app"]
    assert [middleware.cls for middleware in app.user_middleware] == [ResumeShim]


TUTORIAL = ROOT / "docs/tutorial.md"


def test_the_tutorial_has_no_other_blocks_than_these() -> None:
    found = re.findall(r"^```(\w+)", TUTORIAL.read_text(), re.MULTILINE)
    langgraph = ["python", "python", "json", "bash", "python"]
    assert found == ["bash", "python", "bash", *["python"] * 4, *langgraph]
    assert shlex.split(blocks(TUTORIAL, "bash")[1]) == ["uvicorn", "app:app", "--port", "8063"]


def test_the_tutorial_works_from_top_to_bottom(capsys: pytest.CaptureFixture[str]) -> None:
    app, *client = blocks(TUTORIAL, "python")[:5]
    with serving(run(app)["app"]) as url:
        code = "\n".join(client).replace("http://127.0.0.1:8063", url)
        run(code)
    said = capsys.readouterr().out
    for promised in re.findall(r"print\(.*\)  # (.*)", code):
        assert promised in said
    assert "event: updates" in said


@pytest.mark.parametrize("page", HOW_TOS, ids=[page.stem for page in HOW_TOS])
def test_a_how_to_runs(page: Path) -> None:
    for code in blocks(page, "python"):
        assert "app" in run(code)


@pytest.fixture(scope="module")
def store() -> Iterator[str]:
    """A real Redis, where the page has one."""
    need_redis()
    with redis_server() as server:
        yield server.url


def replicas_page(language: str, places: dict[str, str]) -> list[str]:
    """The page's blocks, with servers that are there in place of those that it names."""
    found = blocks(REPLICAS, language)
    for named, there in places.items():
        found = [code.replace(named, there) for code in found]
    return found


def test_the_page_on_replicas_has_no_other_blocks_than_these() -> None:
    found = re.findall(r"^```(\w+)", REPLICAS.read_text(), re.MULTILINE)
    assert found == ["bash", "python", "python", "python", "bash", "python"]


def test_two_sidecars_with_one_store_forward_one_answer(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    import httpx

    commands = [shlex.split(line) for line in blocks(REPLICAS, "bash")[0].splitlines()]
    assert [words[:3] + words[4:7] for words in commands] == [
        ["ap-resume-shim", "serve", "--upstream", "--port", port, "--guard"] for port in ("8063", "8064")
    ]
    with serving(create_app()) as upstream, httpx.Client(base_url=upstream) as client:
        assert commands[0][6:] == commands[1][6:]
        with sidecars(2, "--upstream", upstream, "--port", "0", *commands[0][6:-1], store) as (one, two):
            places = {"http://127.0.0.1:8063": one.url, "http://127.0.0.1:8064": two.url}
            code = "\n".join(replicas_page("python", places)[:2])
            threads = {"thread_id": asked_thread(client), "another_thread_id": asked_thread(client)}
            answers = run(code, **threads)["answers"]
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 9
    said = capsys.readouterr().out
    for promised in re.findall(r"print\(.*\)  # (.*)", code):
        assert promised in said


def test_workers_with_one_store_forward_one_answer(store: str, tmp_path: Path) -> None:
    import httpx

    port = str(free_port())
    words = shlex.split(blocks(REPLICAS, "bash")[1])
    assert words == ["uvicorn", "shim:app", "--workers", "2", "--port", "8063"]
    with serving(create_app()) as upstream, httpx.Client(base_url=upstream) as client:
        code = replicas_page("python", {"http://127.0.0.1:2024": upstream, NAMED: store})[2]
        assert code.startswith("# shim.py\n")
        (tmp_path / "shim.py").write_text(code)
        command = [sys.executable, "-m", *words[:-1], port, "--log-level", "critical"]
        workers = subprocess.Popen(command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)})
        try:
            eventually(lambda: _answers(f"http://127.0.0.1:{port}"), patience=60)
            thread_id = asked_thread(client)

            def answer(_: int) -> int:
                body = {"thread_id": thread_id, "input": "approve", "on_disconnect": "continue"}
                return httpx.patch(f"http://127.0.0.1:{port}/runs/resume/wait", json=body, timeout=60).status_code

            with ThreadPoolExecutor(10) as pool:
                assert sorted(pool.map(answer, range(10))) == [200] + [409] * 9
        finally:
            workers.terminate()
            workers.wait(timeout=20)


SIDECAR = ROOT / "docs/how-to/sidecar.md"


def test_the_page_on_the_sidecar_has_no_other_blocks_than_these() -> None:
    found = re.findall(r"^```(\w+)", SIDECAR.read_text(), re.MULTILINE)
    assert found == ["toml", "bash", "bash", "bash", "ini", "yaml", "ini"]


def test_the_sidecars_commands_and_files_are_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REDIS_PASSWORD", "a password")
    authority = Authority(tmp_path, "ca")
    for name in ("server", "client"):
        authority.pair(name)
    Path("shim.toml").write_text(blocks(SIDECAR, "toml")[0])
    Path("settings.toml").write_text(blocks(ROOT / "docs/reference/settings.md", "toml")[0])
    commands = [line for block in blocks(SIDECAR, "bash") for line in block.splitlines()]
    commands += re.findall("^ExecStart=/opt/shim/bin/(.*)$", "\n".join(blocks(SIDECAR, "ini")), re.MULTILINE)
    assert len(commands) == 7
    for command in (*commands, "ap-resume-shim serve --config settings.toml"):
        program, name, *options = shlex.split(command.replace("/etc/shim.toml", "shim.toml"))
        assert (program, name) == ("ap-resume-shim", "serve")
        assert check(read(options)) == []


def test_the_probes_are_where_the_page_has_them(tmp_path: Path) -> None:
    import httpx

    settings, probes = blocks(SIDECAR, "toml")[0], re.findall(r"path: (\S+), port: (\d+)", SIDECAR.read_text())
    assert {port for _, port in probes} == set(re.findall(r"health-port = (\d+)", settings))
    (tmp_path / "shim.toml").write_text(re.sub("health-port = .*", "health-port = 0", settings))
    with serving(create_app()) as upstream:
        options = ("--host", "127.0.0.1", "--port", "0", "--config", str(tmp_path / "shim.toml"))
        with sidecar("--upstream", upstream, *options) as shim:
            for path, _ in probes:
                assert httpx.get(shim.health.removesuffix("/-") + path).status_code == 200


def test_the_commands_on_the_page_on_monitoring_are_right() -> None:
    commands = [line for block in blocks(ROOT / "docs/how-to/monitor.md", "bash") for line in block.splitlines()]
    serve = [shlex.split(line.partition("ap-resume-shim serve")[2]) for line in commands if " serve " in line]
    assert [check(read(options)) for options in serve] == [[], []]


def _answers(url: str) -> bool:
    import httpx

    try:
        return httpx.get(f"{url}/agents/deploy").status_code == 200
    except httpx.TransportError:
        return False


def test_the_other_settings_of_the_guard_are_settings_of_it(store: str) -> None:
    guard = run(replicas_page("python", {NAMED: store})[3])["guard"]
    assert (guard.lease, guard.duplicate_window) == (10, 2)


MIDDLEWARE = ROOT / "docs/reference/middleware.md"


def test_an_app_that_is_wrapped_when_its_module_is_loaded_has_its_arguments_checked() -> None:
    _signature, code = blocks(MIDDLEWARE, "python")
    assert isinstance(run(code)["app"], ResumeShim)
    with pytest.raises(ConfigurationError, match="langraph"):
        run(code.replace("langgraph", "langraph"))


def test_uvicorn_exits_for_a_wrong_argument_of_add_middleware_with_lifespan_on(tmp_path: Path) -> None:
    flags = shlex.split(*re.findall("`uvicorn app:app (--lifespan on)`", MIDDLEWARE.read_text()))
    recipe = blocks(README, "python")[1]
    (tmp_path / "app.py").write_text(recipe.replace("langgraph", "langraph"))
    command = [sys.executable, "-m", "uvicorn", "app:app", "--port", str(free_port()), *flags]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
    assert ended.returncode != 0
    assert "Did you mean 'langgraph'?" in ended.stderr


REFUSED = ROOT / "docs/how-to/why-refused.md"


def test_the_page_on_refusals_has_no_other_blocks_than_these() -> None:
    found = re.findall(r"^```(\w+)", REFUSED.read_text(), re.MULTILINE)
    assert found == ["bash", "python", *["text"] * 5]


def test_the_lines_on_the_page_on_refusals_are_real(caplog: pytest.LogCaptureFixture) -> None:
    import httpx

    caplog.set_level("DEBUG", "ap_resume_shim")
    faults: dict[str, tuple[int, str]] = {}
    app = run(blocks(REFUSED, "python")[0])["app"]
    app.app = app._observed_app = _Faulty(app.app, faults)
    with serving(app) as url, httpx.Client(base_url=url) as client:
        for thread in ("trip-1", "trip-2"):
            client.post("/threads", json={"thread_id": thread})
            client.post("/runs/wait", json={"thread_id": thread, "agent_id": "deploy", "input": {}})

        def resumed(thread: str, route: str = "", **headers: str) -> int:
            body = {"thread_id": thread, "input": "approve"}
            return client.patch(f"/runs/resume{route}", json=body, headers=headers).status_code

        assert resumed("trip-1", "/wait", **{"x-request-id": "r-17"}) == 200
        assert (resumed("trip-0"), resumed("trip-1")) == (404, 409)
        faults["/threads/trip-1"] = 301, "http://agents.internal/threads/trip-1/"
        faults["/runs"] = 500, ""
        assert (resumed("trip-1"), resumed("trip-2")) == (502, 502)
    written = {_masked(f"{record.levelname}:     {record.getMessage()}") for record in caplog.records}
    for block in blocks(REFUSED, "text"):
        for line in block.splitlines():
            assert _masked(line) in written


class _Faulty:
    """An app that answers some paths with a status and a location of its own."""

    def __init__(self, app: Any, faults: dict[str, tuple[int, str]]) -> None:
        self.app, self.faults = app, faults

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope.get("path") not in self.faults:
            await self.app(scope, receive, send)
            return
        status, location = self.faults[scope["path"]]
        await send({"type": "http.response.start", "status": status, "headers": [(b"location", location.encode())]})
        await send({"type": "http.response.body"})


def _masked(line: str) -> str:
    return re.sub(r"((?:^|_| )ms|run_id)=[\w.-]+", r"\1=…", line)


@pytest.mark.parametrize("configured", [True, False])
def test_one_line_of_configuration_shows_resumes_under_uvicorn(configured: bool, tmp_path: Path) -> None:
    import httpx

    code, line = blocks(REFUSED, "python")[0], "logging.basicConfig(level=logging.INFO)\n"
    assert line in code
    (tmp_path / "app.py").write_text(code if configured else code.replace(line, ""))
    log, url = tmp_path / "log", f"http://127.0.0.1:{(port := free_port())}"
    path = os.pathsep.join((str(ROOT), str(tmp_path)))
    with log.open("w") as output:
        command = [sys.executable, "-m", "uvicorn", "app:app", "--port", str(port)]
        server = subprocess.Popen(command, stdout=output, stderr=output, env={**os.environ, "PYTHONPATH": path})
    try:
        eventually(lambda: _answers(url), "uvicorn responds", patience=60)
        httpx.patch(f"{url}/runs/resume", json={"thread_id": "unknown"})
    finally:
        server.terminate()
        server.wait(timeout=20)
    lines = [line for line in log.read_text().splitlines() if "thread_not_found" in line]
    assert len(lines) == configured
    if configured:
        assert lines[0].startswith("INFO:ap_resume_shim.resume:resume thread_id=unknown backend=agent-protocol ")


def test_the_sidecar_writes_its_requests_at_debug() -> None:
    import httpx

    (command,) = blocks(REFUSED, "bash")
    options = shlex.split(command)[4:]
    assert options == ["--log-level", "debug"]
    with serving(create_app()) as upstream, sidecar("--upstream", upstream, "--port", "0", *options) as shim:
        httpx.patch(f"{shim.url}/runs/resume", json={"thread_id": "unknown"}, headers={"x-request-id": "r-17"})
        eventually(lambda: "thread_not_found" in shim.log)
        records = [json.loads(line) for line in shim.log.splitlines()]
    (lookup,) = [record for record in records if record.get("path") == "/threads/unknown"]
    fields = ("level", "logger", "method", "status", "reason", "request_id")
    assert [lookup[name] for name in fields] == ["DEBUG", "ap_resume_shim.upstream", "GET", 404, None, "r-17"]
    (line,) = [record for record in records if record["logger"] == "ap_resume_shim.resume"]
    assert line["reason"].startswith("The backend does not know the thread.")


@pytest.mark.parametrize("backend", backend_names())
def test_every_backend_has_a_page_with_its_modes(backend: str) -> None:
    page = page_of(backend)
    assert modes_of(page) in page.read_text().partition(HEADING)[2], (
        "`python -m tests.families RESULTS --write` renews it"
    )


def test_links_between_the_pages_lead_somewhere() -> None:
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("benchmarks/*.md")]
    for page in pages:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name} links to {target}"


CLIENTS = ROOT / "docs/how-to/clients-of-today.md"


def test_the_commands_on_the_page_on_todays_clients_are_right() -> None:
    serve, report, guard = (shlex.split(block) for block in blocks(CLIENTS, "bash"))
    assert report == ["ap-resume-shim", "report", "http://127.0.0.1:8064"]
    for command in (serve, guard):
        assert command[:2] == ["ap-resume-shim", "serve"]
        assert check(read(command[2:])) == []


def test_the_report_on_the_page_is_real() -> None:
    import httpx

    app = ResumeShim(create_app(), "agent-protocol", vendor_resumes="observe")
    with serving(app) as url, httpx.Client(base_url=url) as client:
        client.post("/threads", json={"thread_id": "t"})
        body = {"thread_id": "t", "agent_id": "deploy", "input": {}}
        client.post("/runs/wait", json=body)
        answer = {**body, "input": {"command": {"resume": "reject"}}}
        for _ in range(2):
            client.post("/runs/wait", json=answer)
        eventually(lambda: "agent-protocol" in app.report()["conventions"])
        counted = app.report()["conventions"]
        eventually(lambda: app.report()["conventions"]["agent-protocol"]["resumes"] == 2, str(counted))
    printed = "\n".join(lines(app.report())).splitlines()
    shown = blocks(CLIENTS, "text")[0].splitlines()
    assert printed[1:3] == shown[1:3]
    assert sorted(printed[3].split()) == sorted(shown[3].split())


def test_the_page_on_todays_clients_has_every_convention() -> None:
    page = CLIENTS.read_text()
    for name in backend_names():
        for convention in load_backend(name).conventions:
            profile = type(convention).__name__ == "ProfileConvention"
            assert profile or f"`{convention.name}`" in page, f"{name}: {convention.name}"
