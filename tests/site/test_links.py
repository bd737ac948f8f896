"""The link checker of the site."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.site.links import dead_links


@pytest.mark.parametrize(
    ("link", "reason"),
    [
        ("b/c.html", None),
        ("b/c.html#here", None),
        ("b/", None),
        ("#top", None),
        ("https://example.org/nowhere", None),
        ("b/d.html", "there is no such file"),
        ("../a.html", "there is no such file"),
        ("b/c.html#there", "the page has no such anchor"),
        ("#bottom", "the page has no such anchor"),
    ],
)
def test_a_link_that_leads_nowhere_is_found(link: str, reason: str | None, tmp_path: Path) -> None:
    site = tmp_path / "site"
    (site / "b").mkdir(parents=True)
    (site / "a.html").write_text(f'<h1 id="top"><a href="{link}">')
    (site / "b/c.html").write_text('<p id="here"><img src="../a.html">')
    (site / "b/index.html").write_text("")
    assert list(dead_links(site)) == ([f"a.html: {link}: {reason}"] if reason else [])


def test_the_links_of_llms_txt_are_checked(tmp_path: Path) -> None:
    (tmp_path / "llms.txt").write_text("- [A](_sources/a.md): the page")
    assert list(dead_links(tmp_path)) == ["llms.txt: _sources/a.md: there is no such file"]
