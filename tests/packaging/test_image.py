"""The Dockerfile's steps without an engine, in a folder; with an engine, the image itself."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from ap_resume_shim import __version__
from ap_resume_shim.sidecar.app import check
from ap_resume_shim.sidecar.settings_sources import read
from tests.servers.process import free_port
from tests.support.waiting import eventually

ROOT = Path(__file__).parents[2]
PREFIX = "/opt/shim"


def instructions(stage: int) -> list[tuple[str, str]]:
    """The instructions of one stage: each with its arguments, in one line."""
    lines = [line for line in (ROOT / "Dockerfile").read_text().splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    stages = re.split(r"^(?=FROM )", joined, flags=re.MULTILINE)
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in stages[stage].splitlines() if line)]


def given(stage: int, word: str) -> list[str]:
    return [rest for name, rest in instructions(stage) if name == word]


def can_unshare() -> bool:
    return subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode == 0


@dataclass(frozen=True)
class Image:
    """What the last stage has: the prefix, and how it is used."""

    prefix: str
    environment: dict[str, str]
    user: int

    def command(self, *words: str) -> list[str]:
        """As root: run with a read-only file system, as a user who can read all files (those of root's Python, too)."""
        if not can_unshare():
            return [*words]
        user = f"--reuid={self.user} --regid={self.user} --clear-groups"
        user += " --inh-caps=+dac_read_search --ambient-caps=+dac_read_search"
        return [
            "unshare",
            "--mount",
            "sh",
            "-c",
            f'mount -o remount,bind,ro / && exec setpriv {user} -- "$@"',
            "sh",
            *words,
        ]

    @contextmanager
    def sidecar(self, *options: str) -> Iterator[subprocess.Popen[bytes]]:
        """The entry point with its default command."""
        words = [*json.loads(given(2, "ENTRYPOINT")[0]), *json.loads(given(2, "CMD")[0]), *options]
        with subprocess.Popen(self.command(*words), env=self.environment, cwd="/", stderr=subprocess.PIPE) as process:
            try:
                yield process
            finally:
                process.terminate()

    def healthy(self) -> bool:
        """The healthcheck's command."""
        words = json.loads(given(2, "HEALTHCHECK")[0].partition("CMD ")[2])
        return subprocess.run(self.command(*words), env=self.environment, capture_output=True).returncode == 0


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    """Carry out the first stage in a folder that other users can read."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        source, prefix = Path(folder, "src"), f"{folder}{PREFIX}"
        arguments = dict(argument.split("=") for argument in given(1, "ARG"))
        for copied in given(1, "COPY"):
            *names, target = copied.split()
            for name in names:
                _copy(ROOT / name, (source / target / (name if target == "./" else "")).resolve())
        for command in given(1, "RUN"):
            command = re.sub(r"--mount=\S+ ", "", command).replace(PREFIX, prefix)
            path = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
            subprocess.run(["sh", "-euc", command], cwd=source, env={**os.environ, **arguments, **path}, check=True)
        (user,) = given(2, "USER")
        yield Image(prefix, _environment(prefix), int(user.partition(":")[0]))


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)


def _environment(prefix: str) -> dict[str, str]:
    """Only what the image sets, with free ports."""
    environment = {"PATH": os.environ["PATH"]}
    for setting in shlex.split(given(2, "ENV")[0]):
        name, _, value = setting.partition("=")
        environment[name] = value.replace("${PATH}", environment["PATH"]).replace(PREFIX, prefix)
    assert environment["AP_RESUME_SHIM_HEALTH_PORT"] in given(2, "EXPOSE")[0].split()
    ports = {f"AP_RESUME_SHIM_{name}": str(free_port()) for name in ("PORT", "HEALTH_PORT")}
    return environment | {"AP_RESUME_SHIM_HOST": "127.0.0.1"} | ports


def test_the_sidecar_is_healthy_as_long_as_it_serves(image: Image) -> None:
    assert not image.healthy()
    with image.sidecar("--upstream", "http://127.0.0.1:9", "--backend", "langgraph") as process:
        eventually(image.healthy, "the sidecar is healthy", patience=60)
        process.send_signal(getattr(signal, given(2, "STOPSIGNAL")[0]))
        assert process.wait(timeout=30) == 0
    assert not image.healthy()


@pytest.mark.skipif(not can_unshare(), reason="needs root, for a file system that is read-only")
def test_what_runs_in_the_image_can_write_nothing(image: Image) -> None:
    attempts = [f"{image.prefix}/file", "/tmp/file"]
    for attempt in attempts:
        assert subprocess.run(image.command("touch", attempt), capture_output=True).returncode
    assert image.user


def test_the_labels_name_the_version_and_the_licence() -> None:
    labels = dict(
        label.removeprefix("org.opencontainers.image.").split("=") for label in shlex.split(given(2, "LABEL")[0])
    )
    assert f"VERSION={__version__}" in given(2, "ARG")
    assert (labels["version"], labels["licenses"], labels["source"]) == ("${VERSION}", "MIT", "${SOURCE}")


def test_the_build_gets_no_file_that_it_does_not_copy() -> None:
    passed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert passed == {name for copied in given(1, "COPY") for name in copied.split()[:-1]}


@pytest.mark.parametrize("page", ["Dockerfile", "docs/how-to/sidecar.md"])
def test_the_commands_for_the_image_have_valid_settings(page: str) -> None:
    (run,) = re.findall(r"docker run .*", (ROOT / page).read_text())
    words = shlex.split(run)
    assert words[2] == "--read-only"
    assert check(read(words[words.index("serve") + 1 :])) == []


@pytest.mark.skipif(
    subprocess.run(["sh", "-c", "docker info"], capture_output=True).returncode != 0, reason="needs a container engine"
)
def test_the_image_itself_is_healthy_and_stops_with_status_0() -> None:
    def docker(*words: str) -> str:
        return subprocess.run(["docker", *words], check=True, capture_output=True, text=True).stdout.strip()

    built = docker("build", "--quiet", str(ROOT))
    container = docker("run", "--detach", "--read-only", built, "serve", "--upstream", "http://127.0.0.1:9")
    try:
        state = ("inspect", "--format", "{{.State.Health.Status}}", container)
        eventually(lambda: docker(*state) == "healthy", "the container is healthy", patience=120)
        docker("stop", container)
        assert docker("inspect", "--format", "{{.State.ExitCode}}", container) == "0"
    finally:
        docker("rm", "--force", container)
