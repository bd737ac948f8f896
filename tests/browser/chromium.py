"""A real browser: Debian's chromium without a window, which opens one page and is told nothing else."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.support.programs import need

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--disable-sync",
    "--disable-breakpad",
    "--disable-crash-reporter",
    "--disable-extensions",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--no-proxy-server",
    "--enable-logging=stderr",
)
PATIENCE = 30.0
"""Seconds for a page. Only one that waits for what never comes needs them."""

PAGE = """<!doctype html>
<meta charset="utf-8">
<script type="module">
{given}
{prelude}
const scenario = async () => {{ {scenario} }};
const outcome = await scenario().catch((error) => ({{ failed: `${{error.stack ?? error}}` }}));
await fetch("/outcome", {{ method: "POST", body: JSON.stringify(outcome ?? null) }});
</script>
"""
PRELUDE = Path(__file__).with_name("prelude.js")


class Pages:
    """An origin of its own, on a port of its own; each page runs a scenario and posts what came of it."""

    def __init__(self, server: ThreadingHTTPServer, browser: str, module: bytes) -> None:
        self.origin = f"http://127.0.0.1:{server.server_port}"
        self.html, self.module = "", module
        self.outcomes: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._browser = browser

    def run(self, scenario: str, **given: Any) -> Any:
        """What a scenario returns: the body of an async function in JavaScript, to which `given` are constants."""
        constants = "\n".join(f"const {name} = {json.dumps(value)};" for name, value in given.items())
        self.html = PAGE.format(given=constants, prelude=PRELUDE.read_text(), scenario=scenario)
        with chromium(self._browser, f"{self.origin}/") as log:
            try:
                outcome = self.outcomes.get(timeout=PATIENCE)
            except queue.Empty:
                outcome = {"failed": "it did not come to an end"}
            if isinstance(outcome, dict) and "failed" in outcome:
                said = [line for line in log.read_text().splitlines() if "CONSOLE" in line]
                pytest.fail("\n".join([f"the page failed: {outcome['failed']}", *said]))
        return outcome


@contextmanager
def pages(module: bytes = b"") -> Iterator[Pages]:
    """Serve pages, and a JavaScript module that they may import from `/module.js`."""
    browser = need("chromium", "chromium-browser", "google-chrome", required="AP_TEST_BROWSER")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            files = {"/": ("text/html", served.html.encode()), "/module.js": ("text/javascript", served.module)}
            media_type, body = files.get(self.path, ("", b""))
            self._answer(200 if media_type else 404, body, media_type or "text/plain")

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            self._answer(200, b"")
            served.outcomes.put(json.loads(body))

        def _answer(self, status: int, body: bytes, media_type: str = "text/plain") -> None:
            self.send_response(status)
            self.send_header("content-type", media_type)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        served = Pages(server, browser, module)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield served
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def chromium(browser: str, url: str, *flags: str) -> Iterator[Path]:
    """Open a page; yields the path of the browser's log. All of its processes end with the block."""
    with tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as folder:
        log = Path(folder, "log")
        command = [browser, *FLAGS, *flags, f"--user-data-dir={folder}/profile", url]
        env = {**os.environ, "TMPDIR": folder, "HOME": folder}  # what it leaves lying about goes with the folder
        with log.open("w") as output:
            process = subprocess.Popen(
                command, stdout=output, stderr=subprocess.STDOUT, env=env, start_new_session=True
            )
        try:
            yield log
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
