"""A sidecar that guards vendor resumes, in front of a real server."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.servers.process import free_port
from tests.servers.run import running
from tests.support.calling import CLIENT
from tests.support.sidecar import sidecar
from tests.support.waiting import eventually


@dataclass(frozen=True)
class Place:
    """The URLs of the sidecar, of its health port, and of the server behind it."""

    url: str
    health: str
    server: str

    def values(self, thread: str) -> dict[str, Any]:
        """The values of a LangGraph server's thread."""
        values: dict[str, Any] = CLIENT.get(f"{self.server}/threads/{thread}/state").json()["values"]
        return values

    def noted(self, ref: str, event: str) -> list[Any]:
        """The values that an agent recorded with an event, in order."""
        noted = CLIENT.get(f"{self.server}/__witness").json()
        return [entry["value"] for entry in noted if (entry["ref"], entry["event"]) == (ref, event)]

    def heard(self, ref: str) -> list[Any]:
        """The answers that an agent received, once there is one."""
        eventually(lambda: self.noted(ref, "got"), "the agent receives an answer")
        return self.noted(ref, "got")

    def answers(self) -> int:
        """How many requests that carry an answer have reached the sidecar: a client that sends one again counts."""
        conventions = CLIENT.get(f"{self.health}/report").json()["conventions"]
        return sum(count["resumes"] for count in conventions.values())

    def received(self, count: int) -> None:
        """Assert that so many answers have reached the sidecar, which counts one when it has responded."""
        eventually(lambda: self.answers() >= count, f"{count} answers are counted")
        time.sleep(0.1)
        assert self.answers() == count


@contextmanager
def guarding(server: str, *options: str) -> Iterator[Place]:
    """Run a sidecar in front of a server of `tests.servers` during the block; `options` are the sidecar's."""
    with running(server) as upstream, guarding_url(upstream, *options) as place:
        yield place


@contextmanager
def guarding_url(upstream: str, *options: str, server: str = "") -> Iterator[Place]:
    """Run a sidecar in front of a URL during the block; `server` is the URL of the server, if it is another one.

    `{sidecar}` in an option is the sidecar's own URL.
    """
    port = str(free_port())
    guard = ("--vendor-resumes", "guard", "--health-port", "0", "--port", port)
    own = [option.replace("{sidecar}", f"http://127.0.0.1:{port}") for option in options]
    with sidecar("--upstream", upstream, *guard, *own) as shim:
        yield Place(shim.url, shim.health, server or upstream)
