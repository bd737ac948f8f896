"""Draws what `ap-resume-shim demo` prints, as the README shows it: `make picture` writes `docs/images/demo.svg`."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html import escape
from pathlib import Path

from ap_resume_shim.demo.double_click import WIDTH

PICTURE = Path(__file__).parents[2] / "docs/images/demo.svg"
COLUMN, LINE, MARGIN = 7.83, 18, 16
"""Pixels, for a monospaced font of 13 pixels."""
STYLE = """
text { font: 13px ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace; white-space: pre }
text { fill: #1f2328 }
rect { fill: #f6f8fa; stroke: #d1d9e0 }
.c1 { font-weight: bold } .c31 { fill: #c21c2b } .c32 { fill: #116329 } .c33 { fill: #805500 } .c36 { fill: #0a5d9c }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 } rect { fill: #0d1117; stroke: #3d444d }
.c31 { fill: #ff8182 } .c32 { fill: #56d364 } .c33 { fill: #e3b341 } .c36 { fill: #79c0ff }
}
"""
_PAINTED = re.compile(r"\x1b\[(\d+)m(.*?)\x1b\[0m")
_ID = re.compile("[0-9a-f]{8}…")


def printed() -> list[str]:
    """Run the demo and return its lines, in colour, with the same id in every run."""
    environment = {**os.environ, "FORCE_COLOR": "1", "COLUMNS": str(WIDTH), "PYTHONIOENCODING": "utf-8"}
    command = [sys.executable, "-m", "ap_resume_shim", "demo"]
    output = subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, encoding="utf-8", check=True, timeout=120
    ).stdout
    return ["$ ap-resume-shim demo", *_ID.sub("3f0c7a52…", output).splitlines()]


def draw(lines: list[str]) -> str:
    """Return the picture of a terminal with these lines."""
    width, height = round(WIDTH * COLUMN) + 2 * MARGIN, len(lines) * LINE + 2 * MARGIN
    texts = [
        f'<text x="{MARGIN}" y="{MARGIN + 13 + number * LINE}">{_marked(line)}</text>'
        for number, line in enumerate(lines)
        if line
    ]
    label = (
        "ap-resume-shim demo: without the shim a double click starts the agent again, with it the second click gets 409"
    )
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" xml:space="preserve">'
    )
    frame = f'<rect x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="8"/>'
    return "\n".join([head, f"<title>{label}</title>", f"<style>{STYLE}</style>", frame, *texts, "</svg>\n"])


def _marked(line: str) -> str:
    return _PAINTED.sub(r'<tspan class="c\1">\2</tspan>', escape(line, quote=False))


if __name__ == "__main__":
    PICTURE.write_text(draw(printed()), "utf-8")
