"""What the release workflow does before it builds, in a repository of its own."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from ap_resume_shim import __version__

ROOT = Path(__file__).parents[2]
BUILD: dict[str, Any]
BUILD, _, _, ANNOUNCE = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text())["jobs"].values()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A checkout with the files that the step reads."""
    for name in (".gitignore", "CHANGELOG.md", "ap_resume_shim/__init__.py"):
        (target := tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, target)
    for words in (["init", "--quiet"], ["add", "--all"]):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    return tmp_path


def check_the_tag(repository: Path, tag: str) -> bool:
    """Run the workflow's step as its runner does."""
    (step,) = (step["run"] for step in BUILD["steps"] if "TAG" in step.get("env", {}))
    ended = subprocess.run(["bash", "-e", "-o", "pipefail", "-c", step], cwd=repository, env={"TAG": tag})
    return ended.returncode == 0


def test_the_notes_of_a_release_are_in_no_file_that_an_sdist_would_contain(repository: Path) -> None:
    assert check_the_tag(repository, f"v{__version__}")
    (notes,) = re.findall(r"--notes-file (\S+)", ANNOUNCE["steps"][-1]["run"])
    assert "### Added" in (repository / notes).read_text()
    changed = subprocess.run(
        ["git", "status", "--porcelain"], cwd=repository, capture_output=True, text=True, check=True
    )
    assert [line for line in changed.stdout.splitlines() if not line.startswith("A ")] == []
    (uploaded,) = (step["with"]["path"] for step in BUILD["steps"] if "upload-artifact" in step.get("uses", ""))
    assert notes in uploaded.split()


@pytest.mark.parametrize("tag", ["v0.0.0", f"v{__version__}.1"])
def test_a_tag_of_another_version_ends_the_release(repository: Path, tag: str) -> None:
    assert not check_the_tag(repository, tag)


def test_a_release_can_be_built_again_with_the_same_build_backend() -> None:
    builds = re.findall(r"uv build .*", (ROOT / ".ci/run").read_text() + (ROOT / "CONTRIBUTING.md").read_text())
    assert len(builds) == 3
    assert all("--build-constraints constraints.txt" in build for build in builds)
    assert re.search(r"^hatchling==", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
