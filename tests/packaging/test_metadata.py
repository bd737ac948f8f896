"""What the package's metadata promises, in a wheel that is built as for a release: from the sdist."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest

from ap_resume_shim import __version__

ROOT = Path(__file__).parents[2]
UV = Path(sys.executable).with_name("uv")
SOURCE = "https://code.example/owner/name"
LINK = re.compile(r"\]\(([^)\s]+)\)|^\[[^\]]+\]: (\S+)|src=\"([^\"]+)\"", re.MULTILINE)


def built(what: Path, out: Path, kind: str, source: str | None) -> Path:
    """The file that `uv build` makes of `what`; `source` is the address of the repository, if it is known."""
    environment = {name: value for name, value in os.environ.items() if name != "AP_SOURCE_URL"}
    environment |= {} if source is None else {"AP_SOURCE_URL": source}
    subprocess.run([UV, "build", "--quiet", kind, "--out-dir", out, what], env=environment, check=True)
    (made,) = out.glob("*.whl" if kind == "--wheel" else "*.tar.gz")
    return made


def metadata(wheel: Path) -> Message:
    """The wheel's METADATA; its payload is the README."""
    with zipfile.ZipFile(wheel) as files:
        (name,) = (name for name in files.namelist() if name.endswith(".dist-info/METADATA"))
        return Parser().parsestr(files.read(name).decode())


def links(readme: str) -> list[str]:
    return [next(filter(None, groups)) for groups in LINK.findall(readme)]


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Message:
    """The metadata of a release. The wheel is built from the sdist, by somebody who does not know the address."""
    sdist = built(ROOT, tmp_path_factory.mktemp("sdist"), "--sdist", SOURCE)
    return metadata(built(sdist, tmp_path_factory.mktemp("wheel"), "--wheel", None))


def test_every_link_of_a_released_readme_is_absolute_and_leads_to_a_file_of_the_release(released: Message) -> None:
    found = [link for link in links(str(released.get_payload())) if not link.startswith("#")]
    assert all(re.match("https?://", link) for link in found)
    assert not [link for link in found if "ap_resume_shim" in link and not link.startswith(SOURCE)]
    ours = [re.match(rf"{SOURCE}/(?:blob|raw)/v{__version__}/([^#]+)", link) for link in found if SOURCE in link]
    assert ours
    assert all(path and (ROOT / path[1]).exists() for path in ours)


def test_a_release_has_the_urls_of_its_repository(released: Message) -> None:
    urls = dict(line.split(", ") for line in released.get_all("Project-URL", []))
    assert urls["Source"] == SOURCE
    assert all(url.startswith(SOURCE) for url in urls.values())


def test_a_wheel_that_does_not_know_its_repository_has_no_urls_and_the_readme_as_it_is(tmp_path: Path) -> None:
    local = metadata(built(ROOT, tmp_path, "--wheel", None))
    assert local.get_all("Project-URL") is None
    assert str(local.get_payload()).strip() == (ROOT / "README.md").read_text().strip()


def test_the_classifiers_name_the_pythons_that_the_gate_installs_the_wheel_on(released: Message) -> None:
    classified = re.findall(r"Python :: (3\.\d+)$", "\n".join(released.get_all("Classifier", [])), re.MULTILINE)
    (gate,) = re.findall(
        r"^package\(\) \{.*?for version in ([\d. ]+);", (ROOT / ".ci/run").read_text(), re.DOTALL | re.MULTILINE
    )
    assert classified == gate.split()
    assert released["Requires-Python"] == f">={classified[0]}"


def test_the_newest_release_of_the_changelog_is_the_version(released: Message) -> None:
    newest = re.findall(r"^## \[(\d.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)[0]
    assert newest == released["Version"] == __version__
