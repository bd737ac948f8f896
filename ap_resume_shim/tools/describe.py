"""Descriptions of backends for people: `ap-resume-shim backends`, and the tables of the docs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ap_resume_shim.core.dialect import DEFAULT_KINDS, Dialect, ResponseKind
from ap_resume_shim.core.protocol import Mode

MODES = {Mode.BACKGROUND: "background", Mode.WAIT: "wait", Mode.STREAM: "stream"}
"""The modes, by their names in descriptions and recorded answers."""

DERIVED: dict[tuple[Mode, ResponseKind], str] = {
    (Mode.BACKGROUND, "result"): "derived: the request is held open by the shim",
    (Mode.BACKGROUND, "events"): "derived: the stream is held open by the shim",
    (Mode.WAIT, "run"): "derived: the run is followed to its end",
    (Mode.WAIT, "events"): "derived: the stream is read to its end",
    (Mode.STREAM, "run"): "derived: the run's own stream is joined, or made from following it",
    (Mode.STREAM, "result"): "derived: the events are made from the result",
}
"""How the flow derives a mode from another kind of response."""


@dataclass(frozen=True, slots=True)
class Description:
    """A description of a backend."""

    name: str
    family: str
    thread_is: str
    modes: dict[str, str]
    unsupported: tuple[str, ...]
    options: dict[str, str]
    limits: tuple[str, ...]

    def lines(self) -> Iterator[str]:
        """Yield the lines of the printed description."""
        yield f"{self.name}: {self.family}" if self.family else self.name
        rows = [("thread_id", self.thread_is), *self.modes.items()]
        rows += [("no", ", ".join(self.unsupported))] if self.unsupported else []
        rows += [(f"option {name}", description) for name, description in self.options.items()]
        rows += [("limit", limit) for limit in self.limits]
        for label, text in rows:
            yield f"  {label:<12} {text}"


def describe(dialect: Dialect[Any]) -> Description:
    """Return the description of a dialect's backend."""
    modes = {
        label: "native"
        if dialect.response_kinds[mode] == DEFAULT_KINDS[mode]
        else DERIVED[mode, dialect.response_kinds[mode]]
        for mode, label in MODES.items()
    }
    return Description(
        dialect.name,
        dialect.family,
        dialect.thread_is,
        modes,
        tuple(sorted(dialect.unsupported)),
        dict(dialect.options),
        dialect.limits,
    )
