"""The app that serves the console: its files and headers."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

import ap_resume_shim.console
from ap_resume_shim import ResumeShim
from ap_resume_shim.console import Console
from ap_resume_shim.sidecar.app import clients_app
from ap_resume_shim.sidecar.health import not_found
from ap_resume_shim.sidecar.settings import Settings
from tests.support.calling import Call, Recorder, http

STATIC = Path(ap_resume_shim.console.__file__).parent / "static"
PAGE = (STATIC / "index.html").read_text()


def get(path: str, method: str = "GET", at: str = "/-/console", **headers: str) -> tuple[int, dict[str, str], bytes]:
    """Return status, headers and body of a response."""
    call = Call()
    fields = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    asyncio.run(call(Console(at), http(method, path, headers=fields)))
    found = {name.decode(): value.decode() for name, value in call.sent[0]["headers"]}
    return call.status, found, call.answer


def test_the_page_and_each_file_that_it_needs_are_served() -> None:
    assert get("/-/console")[2].decode() == PAGE
    for name in re.findall(r'(?:src|href)="console/([^"]+)"', PAGE):
        assert get(f"/-/console/{name}")[0] == 200


@pytest.mark.parametrize("file", sorted(STATIC.iterdir()), ids=lambda file: file.name)
def test_every_file_has_its_media_type_and_imports_what_is_served(file: Path) -> None:
    path = "/-/console" if file.name == "index.html" else f"/-/console/{file.name}"
    status, headers, body = get(path)
    assert (status, body) == (200, file.read_bytes())
    kinds = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
    assert headers["content-type"].startswith(kinds[file.suffix])
    for name in re.findall(r'from "\./([^"]+)"', body.decode()):
        assert (STATIC / name).exists()


@pytest.mark.parametrize("path", ["/-/console", "/-/console/app.js", "/-/console/other", "/-/console/"])
def test_every_response_has_the_policy(path: str) -> None:
    headers = get(path)[1]
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "require-trusted-types-for 'script'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert (headers["x-content-type-options"], headers["referrer-policy"]) == ("nosniff", "no-referrer")


def test_the_page_has_no_inline_script_style_or_handler_and_names_no_other_host() -> None:
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=", PAGE)
    text = "".join(file.read_text() for file in STATIC.iterdir())
    assert set(re.findall(r"https?://[\w.]+", text)) <= {"http://www.w3.org", "https://example.org"}
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|localStorage|sessionStorage", text
    )


def test_the_page_may_have_another_address() -> None:
    assert get("/console", at="/console")[0] == get("/a/b/console/app.js", at="/a/b/console")[0] == 200


def test_a_trailing_slash_is_redirected_without_naming_a_host() -> None:
    status, headers, _ = get("/-/console/")
    assert (status, headers["location"]) == (308, "../console")


def test_an_unknown_file_is_404_and_another_method_405() -> None:
    assert get("/-/console/../../settings.py")[0] == get("/-/console/none.js")[0] == 404
    status, headers, _ = get("/-/console", "POST")
    assert (status, headers["allow"]) == (405, "GET, HEAD")


def test_a_file_that_has_not_changed_is_304() -> None:
    _, headers, _ = get("/-/console")
    assert get("/-/console", if_none_match=headers["etag"])[::2] == (304, b"")
    assert get("/-/console", if_none_match='"other"')[0] == 200


@pytest.mark.parametrize("is_on", [True, False])
def test_the_sidecar_serves_the_page_only_if_it_is_on(is_on: bool) -> None:
    settings = Settings(upstream="http://127.0.0.1:9", backend="langgraph", console=is_on)
    call, app = Call(), Recorder()
    asyncio.run(call(clients_app(settings, ResumeShim(app, "langgraph"), not_found), http("GET", "/-/console")))
    assert (bool(call.sent), bool(app.calls)) == (is_on, not is_on)


def test_another_protocol_than_http_is_ignored() -> None:
    call = Call()
    asyncio.run(call(Console(), {"type": "lifespan"}))
    assert call.sent == []
