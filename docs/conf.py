"""Builds the pages into a site, with Sphinx: `make docs`. They are plain Markdown, which a code host shows as well.

Three things are added when a page is read: the navigation, which is that of `index.md`; the docstrings of the modules
that `reference/api.md` names; and text in place of links to folders, which are not part of the site.
"""

from __future__ import annotations

import re
import sys
from importlib import import_module
from inspect import ismodule, isroutine
from pathlib import Path
from textwrap import indent
from typing import Any

from pygments.lexers.special import TextLexer
from sphinx.pycode import ModuleAnalyzer

import ap_resume_shim

ROOT = Path(__file__).parents[1]
LINK = re.compile(r"\[([^\]]+)\]\(([^)#\s]+)(#[^)\s]*)?\)")

project = "ap_resume_shim"
version = release = ap_resume_shim.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc"]
source_suffix = {".md": "markdown"}
include_patterns = ["*.md", "docs/**.md", "benchmarks/*.md", "examples/*.md"]
exclude_patterns = [".*", "**/.*", "build", "**/node_modules"]
root_doc = "docs/index"
suppress_warnings = ["toc.not_included"]  # tests/site/test_index.py
default_role = "code"
myst_heading_anchors = 4

html_theme = "furo"
html_title = f"ap_resume_shim {release}"
html_sourcelink_suffix = ".md"  # the Markdown is part of the site: `llms.txt` leads there
html_show_copyright = False

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_class_signature = "separated"

API = "reference/api.md"
REDIRECT = '<!doctype html><meta charset="utf-8"><title>{0}</title><meta http-equiv="refresh" content="0; url={1}">\n'


def setup(app: Any) -> None:
    for language in ("caddyfile", "haproxy"):
        app.add_lexer(language, TextLexer)
    for name in ap_resume_shim.__all__:  # some are imported when they are first used
        setattr(ap_resume_shim, name, getattr(ap_resume_shim, name))
    app.connect("source-read", read)
    app.connect("autodoc-process-docstring", process_docstring)
    app.connect("autodoc-skip-member", skip_constructor_of_protocol)
    app.connect("build-finished", finish)


def read(app: Any, name: str, source: list[str]) -> None:
    """Add to a page what a code host would not show."""
    text = without_folders(source[0], app.env.doc2path(name))
    if name == root_doc:
        text += navigation(text)
    if name == f"docs/{API.removesuffix('.md')}":
        text = re.sub(r"^## `(\S+)`$", lambda heading: heading[0] + automodule(heading[1]), text, flags=re.MULTILINE)
    source[0] = text


def without_folders(text: str, page: Path) -> str:
    """Replace links to folders by their text."""

    def replaced(link: re.Match[str]) -> str:
        label, target, _ = link.groups()
        return str(label) if "://" not in target and (Path(page).parent / target).is_dir() else link[0]

    return LINK.sub(replaced, text)


def navigation(index: str) -> str:
    """One hidden table of contents for each section of the index, with the pages of its list."""
    _, *parts = re.split(r"^## (.+)$", index, flags=re.MULTILINE)
    tables = []
    for caption, text in zip(parts[::2], parts[1::2], strict=True):
        pages = [target.removesuffix(".md") for _, target, _ in LINK.findall(text) if target.endswith(".md")]
        tables.append("\n".join([f"\n\n```{{toctree}}\n:hidden:\n:caption: {caption}", "", *pages, "```"]))
    return "".join(tables)


def automodule(name: str) -> str:
    """The docstrings of a module; what `ap_resume_shim` exports as well is described there."""
    elsewhere = [] if name == "ap_resume_shim" else ap_resume_shim.__all__
    options = f"   :members:\n   :show-inheritance:\n   :exclude-members: {', '.join(elsewhere)}"
    others = "".join(data(name, each) for each in import_module(name).__all__ if each not in elsewhere)
    return f"\n\n```{{eval-rst}}\n.. automodule:: {name}\n{options}\n{others}\n```\n"


def data(module: str, name: str) -> str:
    """A name that `automodule` leaves out, as it is imported from elsewhere: a type alias, or a module of functions."""
    value = getattr(import_module(module), name)
    if isinstance(value, type) or isroutine(value):
        return ""
    members = f"\n\n.. automodule:: {value.__name__}\n   :members:\n   :no-index:" if ismodule(value) else ""
    text = "" if members else docstring_below(name)
    return f"\n.. py:data:: {name}\n   :module: {module}\n\n" + indent(text + members, "   ") + "\n"


def docstring_below(name: str) -> str:
    """The docstring below the assignment of an alias, in whichever of our modules that is."""
    for module in [each for each in sys.modules if each.startswith("ap_resume_shim.")]:
        lines = ModuleAnalyzer.for_module(module).find_attr_docs().get(("", name))
        if lines:
            return "\n".join(lines)
    raise ValueError(f"{name} has no docstring")


def process_docstring(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Indented lines of our docstrings are code, which reStructuredText needs to have announced."""
    announced: list[str] = []
    for before, line in zip(["", *lines], lines, strict=False):
        if line.startswith("    ") and not before and not any(each.startswith("    ") for each in announced[-2:]):
            announced += ["::", ""]
        announced.append(line)
    lines[:] = announced


def skip_constructor_of_protocol(app: Any, what: str, name: str, obj: Any, skip: bool, options: Any) -> bool | None:
    """A protocol is not constructed; `typing` gives it an `__init__` all the same."""
    return True if getattr(obj, "__module__", "") == "typing" and name == "__init__" else None


def finish(app: Any, error: Exception | None) -> None:
    """Write `llms.txt`: the index, with links to the Markdown of the pages. The root of the site leads to the index."""
    if error or app.builder.name != "html":
        return
    out = Path(app.outdir)
    index = (ROOT / "docs/index.md").read_text()

    def markdown(link: re.Match[str]) -> str:
        label, target, _ = link.groups()
        if target == API:  # its text is made of docstrings, when the site is built
            return f"[{label}](docs/{target.removesuffix('.md')}.html)"
        page = (ROOT / "docs" / target).resolve()
        return f"[{label}](_sources/{page.relative_to(ROOT)})" if target.endswith(".md") else link[0]

    title, summary, rest = index.split("\n\n", 2)
    (out / "llms.txt").write_text("\n\n".join([title, f"> {' '.join(summary.split())}", LINK.sub(markdown, rest)]))
    (out / "index.html").write_text(REDIRECT.format(project, f"{root_doc}.html"))
