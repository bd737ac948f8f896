"""The index of the examples, and the rules for each of them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.examples.running import commands, comment
from tests.test_docs import ROOT

EXAMPLES = ROOT / "examples"
ALONE = ("edge", "clients")
"""Folders whose files are examples of their own."""
FOLDERS = sorted(path for path in EXAMPLES.iterdir() if path.is_dir() and not path.name.startswith((".", "_")))


def files(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.iterdir()) if path.is_file()]


@pytest.mark.parametrize("folder", FOLDERS, ids=[folder.name for folder in FOLDERS])
def test_an_example_is_short_and_needs_no_checkout(folder: Path) -> None:
    texts = [path.read_text() for path in files(folder)]
    sizes = [len(text.splitlines()) for text in texts]
    assert (max(sizes) if folder.name in ALONE else sum(sizes)) < 60
    assert not [text for text in texts if re.search(r"\btests\b", text)]


@pytest.mark.parametrize("folder", FOLDERS, ids=[folder.name for folder in FOLDERS])
def test_its_first_comment_has_the_commands_that_start_it(folder: Path) -> None:
    index = (EXAMPLES / "README.md").read_text()
    (main,) = re.findall(rf"^\| \[{folder.name}\]\((\S+)\)", index, re.MULTILINE)
    for path in files(folder) if folder.name in ALONE else [EXAMPLES / main]:
        assert comment(path).strip().splitlines()[0].endswith((".", ":"))
        assert commands(path)


@pytest.mark.parametrize("folder", FOLDERS, ids=[folder.name for folder in FOLDERS])
def test_it_has_a_mutation_that_its_test_finds(folder: Path) -> None:
    tests = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    mutated = {EXAMPLES / name for name in re.findall(r'mutation\(\s*"(\S+?)"', tests)}
    assert set(files(folder)) & mutated
    assert folder.name not in ALONE or set(files(folder)) <= mutated


def test_the_index_links_every_file() -> None:
    linked = set(re.findall(r"\]\(((?!\.\.)\S+?)\)", (EXAMPLES / "README.md").read_text()))
    there = {str(path.relative_to(EXAMPLES)) for folder in FOLDERS for path in files(folder)}
    assert linked - {"grafana-dashboard.json"} == there - {"langgraph/langgraph.json"}
