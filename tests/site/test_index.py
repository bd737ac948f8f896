"""The index of the pages, from which the site's navigation and `llms.txt` are made."""

from __future__ import annotations

import re

from tests.test_docs import ROOT

INDEX = ROOT / "docs/index.md"


def test_the_index_lists_every_page_once() -> None:
    listed = re.findall(r"^- \[.+?\]\(([^)#]+\.md)\)", INDEX.read_text(), re.MULTILINE)
    pages = [page for page in ROOT.glob("docs/**/*.md") if page != INDEX]
    pages += [*ROOT.glob("*.md"), *ROOT.glob("benchmarks/*.md"), *ROOT.glob("examples/*.md")]
    assert sorted((INDEX.parent / target).resolve() for target in listed) == sorted(pages)
