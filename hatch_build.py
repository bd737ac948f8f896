"""The package's links. The repository does not know its own address: the release passes it as `AP_SOURCE_URL`.

With the address, the metadata has URLs, and the README's relative links become absolute, since a package index has none
of the linked files. Without it, as in a local build, there are no URLs, and the README is unchanged.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

LINK = re.compile(
    r"(?P<image>!)?(?P<before>\[[^\[\]]*\]\(|^\[[^\]]+\]: |src=\")(?![a-z]+:|#)(?P<path>[^)\s\"]+)", re.MULTILINE
)
"""A relative link of Markdown or an image's `src`, up to the end of its path."""


class Links(MetadataHookInterface):
    """Sets `readme` and `urls`."""

    def update(self, metadata: dict[str, Any]) -> None:
        if "readme" in metadata:  # built from an sdist, whose PKG-INFO has both
            return
        root, source = Path(self.root), os.environ.get("AP_SOURCE_URL", "").rstrip("/")
        readme = (root / "README.md").read_text("utf-8")
        if source:
            (version,) = re.findall(
                r'^__version__ = "(.+)"$', (root / "ap_resume_shim/__init__.py").read_text("utf-8"), re.M
            )
            readme = with_absolute_links(readme, source, f"v{version}")
            metadata["urls"] = urls(source, f"v{version}")
        metadata["readme"] = {"content-type": "text/markdown", "text": readme}


def with_absolute_links(readme: str, source: str, tag: str) -> str:
    """Return `readme` with its relative links pointing to the files of the tag."""

    def absolute(link: re.Match[str]) -> str:
        image, before, path = link["image"] or "", link["before"], link["path"]
        kind = "raw" if image or before.startswith("src") else "blob"
        return f"{image}{before}{source}/{kind}/{tag}/{path}"

    return LINK.sub(absolute, readme)


def urls(source: str, tag: str) -> dict[str, str]:
    """Return the project's URLs."""
    return {
        "Documentation": f"{source}/tree/{tag}/docs",
        "Source": source,
        "Issues": f"{source}/issues",
        "Changelog": f"{source}/blob/{tag}/CHANGELOG.md",
    }
