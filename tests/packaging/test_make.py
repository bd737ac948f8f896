"""`make env` behind a company's proxy: an index over HTTPS, whose certificate only some of the configurations know."""

from __future__ import annotations

import http.server
import os
import shutil
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from tests.support.certificates import Authority

ROOT = Path(__file__).parents[2]
UV = Path(sys.executable).with_name("uv")
TRUST = ("CERT", "SSL", "CA_BUNDLE", "PIP_", "UV_", "CURL_")
"""Parts of the names of variables that configure trust or an index."""


@dataclass(frozen=True)
class Index:
    """An index with a package, pip and uv, and the certificate of its authority."""

    url: str
    authority: Path


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    folder = tmp_path_factory.mktemp("index")
    files = folder / "files"
    subprocess.run([sys.executable, "-m", "pip", "download", "-q", "-d", files, "pip", "uv"], check=True)
    _package(folder / "tiny", files)
    for file in files.iterdir():
        (page := folder / "simple" / file.name.split("-")[0]).mkdir(parents=True)
        shutil.move(file, page / file.name)
    authority = Authority(folder)
    pair = authority.pair("index")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    handler = partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield Index(f"https://localhost:{server.server_port}/simple", authority.certificate)
        server.shutdown()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    """A folder's listing is the page that an index has for a package."""

    def log_message(self, *_: object) -> None:
        pass


def _package(folder: Path, out: Path) -> None:
    folder.mkdir()
    (folder / "tiny.py").touch()
    (folder / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
        '[project]\nname = "tiny"\nversion = "1"\n'
    )
    subprocess.run([UV, "build", "--quiet", "--wheel", "--out-dir", out, folder], check=True)
    (out / ".gitignore").unlink(missing_ok=True)


def make_env(home: Path, **configured: str) -> subprocess.CompletedProcess[str]:
    """`make env`, for a user with a new home and only this configuration. `tiny` stands for the project's packages."""
    shutil.copytree(ROOT, home / "project", ignore=lambda folder, names: set(names) - FILES)
    environment = {name: value for name, value in os.environ.items() if not any(part in name for part in TRUST)}
    environment |= {"HOME": str(home), **configured}
    command = ["make", "env", f"PYTHON={sys.executable}", "PACKAGES=tiny"]
    return subprocess.run(command, cwd=home / "project", env=environment, capture_output=True, text=True)


FILES = {"Makefile", "pyproject.toml", "constraints.txt"}


def installed(home: Path) -> bool:
    python = home / "project/.venv/bin/python"
    return subprocess.run([python, "-c", "import tiny"], capture_output=True).returncode == 0


def pip_conf(home: Path, index: Index) -> str:
    (file := home / "pip.conf").write_text(f"[global]\nindex-url = {index.url}\ncert = {index.authority}\n")
    return str(file)


def test_pips_configuration_is_enough(index: Index, tmp_path: Path) -> None:
    """uv knows the same index, but not its certificate."""
    made = make_env(tmp_path, PIP_CONFIG_FILE=pip_conf(tmp_path, index), UV_DEFAULT_INDEX=index.url)
    assert installed(tmp_path), made.stderr
    assert "certificate" in made.stderr
    assert "pip tries it" in made.stderr


def test_uv_trusts_what_the_system_trusts(index: Index, tmp_path: Path) -> None:
    trusted = {"SSL_CERT_FILE": str(index.authority), "UV_DEFAULT_INDEX": index.url}
    made = make_env(tmp_path, PIP_CONFIG_FILE=pip_conf(tmp_path, index), **trusted)
    assert installed(tmp_path), made.stderr
    assert made.stderr == ""


def test_without_any_trust_the_reason_is_on_the_terminal(index: Index, tmp_path: Path) -> None:
    made = make_env(tmp_path, PIP_INDEX_URL=index.url, PIP_RETRIES="1")
    assert made.returncode
    assert not (tmp_path / "project/.venv/.ready").exists()
    assert "CERTIFICATE_VERIFY_FAILED" in made.stdout + made.stderr


def test_bare_make_lists_the_commands() -> None:
    listed = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    commands = [line.split()[1] for line in listed.splitlines()]
    assert commands[:2] == ["env", "test"]
    assert set(commands) <= set(
        " ".join(line for line in (ROOT / "Makefile").read_text().splitlines() if line.startswith(".PHONY")).split()
    )
