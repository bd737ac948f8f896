"""A page in a real browser, driven over the Chrome DevTools Protocol: clicks, keys, screenshots."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

from tests.browser.chromium import chromium
from tests.support.calling import CLIENT
from tests.support.programs import need
from tests.support.waiting import eventually

PATIENCE = 20.0
"""Maximum duration of a command, in seconds."""
KEYS = {"Enter": (13, "\r"), "Tab": (9, ""), " ": (32, " "), "Escape": (27, ""), "ArrowDown": (40, "")}
"""Key codes, and the text that a key enters."""


class Page:
    """A tab of the browser."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket, self._ids = socket, count(1)
        self.errors: list[str] = []
        """Exceptions of scripts, and violations of the Content-Security-Policy."""
        for domain in ("Page", "Runtime", "Log"):
            self.command(f"{domain}.enable")

    def command(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command and return its result."""
        number = next(self._ids)
        self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            message = json.loads(self._socket.recv(timeout=PATIENCE))
            if message.get("id") == number:
                if "error" in message:
                    pytest.fail(f"{method}: {message['error']}")
                result: dict[str, Any] = message["result"]
                return result
            self._note(message.get("method"), message.get("params", {}))

    def _note(self, method: str | None, params: dict[str, Any]) -> None:
        if method == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.errors.append(details.get("exception", {}).get("description", details["text"]))
        if method == "Log.entryAdded" and params["entry"]["source"] in ("security", "violation"):
            self.errors.append(params["entry"]["text"])

    def evaluate(self, expression: str) -> Any:
        """Return the value of an expression, which may be a promise."""
        result = self.command("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            pytest.fail(f"{expression}: {result['exceptionDetails']}")
        return result["result"].get("value")

    def open(self, url: str) -> None:
        """Open a page in this tab."""
        self.command("Page.navigate", url="about:blank")
        self.command("Page.navigate", url=url)
        self.wait("document.readyState === 'complete'")

    def wait(self, condition: str) -> Any:
        """Wait until a condition is true."""
        return eventually(
            lambda: self.evaluate(f"(() => {{ try {{ return {condition}; }} catch {{ return false; }} }})()"), condition
        )

    def text(self, selector: str = "body") -> str:
        """Return the text of an element as it is shown; empty if there is none."""
        return str(self.evaluate(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''"))

    def sees(self, text: str, selector: str = "body") -> None:
        """Wait until an element shows a text."""
        script = f"(document.querySelector({json.dumps(selector)})?.innerText ?? '').includes({json.dumps(text)})"
        eventually(lambda: self.evaluate(script), f"{selector} shows {text!r}; it shows {self.text(selector)!r}")

    def click(self, name: str, within: str = "body", times: int = 1) -> None:
        """Click with the mouse on the button, row or label with this text."""
        x, y = self.wait(f"({_PLACE})({json.dumps(within)}, {json.dumps(name)})")
        for number in range(1, times + 1):
            for kind in ("mousePressed", "mouseReleased"):
                self.command("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=number)

    def fill(self, label: str, value: str) -> None:
        """Replace the text of the field with this label, as a person does."""
        self.wait(f"({_SELECT_FIELD})({json.dumps(label)})")
        if value:
            self.command("Input.insertText", text=value)
        else:
            self.key("Backspace")

    def key(self, key: str, *, ctrl: bool = False) -> None:
        """Press a key."""
        code, text = KEYS.get(key, (8, ""))
        params = {"key": key, "code": key, "windowsVirtualKeyCode": code, "modifiers": 2 if ctrl else 0}
        self.command(
            "Input.dispatchKeyEvent", type="keyDown", **params, **({"text": text} if text and not ctrl else {})
        )
        self.command("Input.dispatchKeyEvent", type="keyUp", **params)

    def resize(self, width: int, height: int, *, dark: bool = False) -> None:
        """Set the size of the window, and the colours that the person prefers."""
        self.command(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.command(
            "Emulation.setEmulatedMedia", features=[scheme, {"name": "prefers-reduced-motion", "value": "reduce"}]
        )

    def screenshot(self, path: Path) -> None:
        """Write what the window shows to a PNG file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(self.command("Page.captureScreenshot", format="png")["data"]))


_PLACE = """(within, name) => {
  const all = [...document.querySelector(within).querySelectorAll("button, summary, label")];
  const targets = all.filter((each) => each.checkVisibility() && !each.matches("fieldset:disabled *, [inert] *"));
  const target =
    targets.find((each) => each.innerText.trim() === name) ?? targets.find((each) => each.innerText.includes(name));
  target.scrollIntoView({ block: "center" });
  const { x, y, width, height } = target.getBoundingClientRect();
  return [x + width / 2, y + height / 2];
}"""
_SELECT_FIELD = """(name) => {
  const labels = [...document.querySelectorAll("label[for]")];
  const shown = labels.filter((each) => each.checkVisibility() && !each.closest("[inert]"));
  const label = shown.find((each) => each.firstChild.textContent.trim() === name);
  const field = document.getElementById(label.htmlFor);
  field.focus();
  field.select();
  return true;
}"""


@contextmanager
def browser() -> Iterator[Page]:
    """Run a browser with one tab during the block."""
    program = need("chromium", "chromium-browser", "google-chrome", required="AP_TEST_BROWSER")
    with chromium(program, "about:blank", "--remote-debugging-port=0", "--hide-scrollbars") as log:
        port_file = log.parent / "profile" / "DevToolsActivePort"
        eventually(lambda: port_file.exists() and port_file.read_text().count("\n") == 1, "the browser listens")
        port = port_file.read_text().split("\n")[0]
        tabs = CLIENT.get(f"http://127.0.0.1:{port}/json").json()
        address = next(tab["webSocketDebuggerUrl"] for tab in tabs if tab["type"] == "page")
        with connect(address, max_size=None, open_timeout=PATIENCE, proxy=None) as socket:
            yield Page(socket)
