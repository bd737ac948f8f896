"""Finds links of a built site that lead nowhere: to a missing file, or to a missing anchor. Needs no network."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """The anchors and the links of one page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("id", "name"):
                self.anchors.add(value or "")
            elif name in ("href", "src") and value:
                self.links.append(value)


def dead_links(site: Path) -> Iterator[str]:
    """Yield a line for each link below `site` that leads nowhere. Links to other sites are not followed."""
    pages = {path: Page(path.read_text()) for path in sorted(site.rglob("*.html"))}
    linked = {path: page.links for path, page in pages.items()}
    linked |= {path: re.findall(r"\]\(([^)\s]+)\)", path.read_text()) for path in site.glob("llms*.txt")}
    for path, links in linked.items():
        for link in links:
            url = urlsplit(link)
            if url.scheme or url.netloc:
                continue
            target = (path.parent / unquote(url.path)).resolve() if url.path else path
            if target.is_dir():
                target /= "index.html"
            if not target.exists():
                yield f"{path.relative_to(site)}: {link}: there is no such file"
            elif target in pages and url.fragment and unquote(url.fragment) not in pages[target].anchors:
                yield f"{path.relative_to(site)}: {link}: the page has no such anchor"
