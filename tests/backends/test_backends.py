"""The backends by name."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from ap_resume_shim import ResumeShim, backends
from ap_resume_shim.backends import backend_names, known_fingerprints, load_backend
from ap_resume_shim.core.dialect import Dialect
from ap_resume_shim.core.errors import ConfigurationError
from ap_resume_shim.core.fingerprint import Fingerprint
from ap_resume_shim.sidecar.health import not_found
from tests.families.subjects import subjects
from tests.support.driver import Driver


@pytest.mark.parametrize("name", backend_names())
def test_every_backend_is_loaded_by_its_name_and_says_what_a_thread_is(name: str) -> None:
    dialect = load_backend(name)
    assert dialect.name == name
    assert dialect.thread_is.endswith(".")


def test_a_name_that_is_none_is_told_the_nearest() -> None:
    with pytest.raises(ConfigurationError, match="Did you mean 'langgraph'"):
        load_backend("langraph")
    with pytest.raises(ConfigurationError, match=r"there are auto, native, a2a.* described by a profile"):
        load_backend("crew")


PROFILE = """
name = "mine"
thread_is = "a session"
lookup.session.request = "GET /sessions/{thread_id}"
found.status = "/session/state"
resume = { wait = "POST /sessions/{thread_id}/answer", answer = "/answer" }
"""


@pytest.mark.parametrize("given", [str, Path, os.fspath], ids=["text", "path", "fspath"])
def test_the_middleware_takes_the_path_of_a_profile(given: Any, tmp_path: Path) -> None:
    file = tmp_path / "my.toml"
    file.write_text(PROFILE)
    assert ResumeShim(not_found, profile=given(file), resume_at="/reply").backend == "mine"
    assert ResumeShim(not_found, Path(file)).backend == "mine"


def test_a_profile_stands_in_place_of_a_backend(tmp_path: Path) -> None:
    others: list[dict[str, Any]] = [{"backend": "agno"}, {"options": {"path": "/"}}]
    for other in others:
        with pytest.raises(ConfigurationError, match="omit `backend` and `options`"):
            ResumeShim(not_found, profile="my.toml", **other)
    with pytest.raises(ConfigurationError, match=r"my\.toml cannot be read"):
        ResumeShim(not_found, profile=tmp_path / "my.toml")


@pytest.mark.parametrize("name", ["langgraph", "aegra"])
def test_the_place_of_the_answer_is_fixed_where_there_is_but_one(name: str) -> None:
    with pytest.raises(ConfigurationError, match="resume_at has no meaning"):
        load_backend(name, resume_at="/command/resume")


class Tickets(Dialect[None]):
    """A backend of another package."""

    name = "tickets"
    thread_is = "A ticket."
    fingerprints = (Fingerprint(info={"/tickets": True}),)


class _Point:
    def __init__(self, name: str, found: Any) -> None:
        self.name, self._found = name, found

    def load(self) -> Any:
        if isinstance(self._found, Exception):
            raise self._found
        return self._found


@pytest.fixture
def added(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [_Point("tickets", Tickets), _Point("broken", ImportError("no such module")), _Point("strange", dict)]
    monkeypatch.setattr(backends, "entry_points", lambda group: points if group == "ap_resume_shim.backends" else [])


@pytest.mark.usefixtures("added")
def test_a_package_adds_a_backend_by_an_entry_point() -> None:
    assert isinstance(load_backend("tickets"), Tickets)


@pytest.mark.usefixtures("added")
@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("ticket", "Did you mean 'tickets'?"),
        ("broken", "cannot be loaded: ImportError"),
        ("strange", "is not an ap_resume_shim.dialects.Dialect"),
    ],
)
def test_an_entry_point_that_leads_to_no_backend_says_so(name: str, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        load_backend(name)


@pytest.mark.usefixtures("added")
def test_a_broken_package_is_no_reason_to_recognise_nothing(caplog: pytest.LogCaptureFixture) -> None:
    known = known_fingerprints()
    assert "broken" not in known
    assert set(known) >= {"tickets", *backend_names()}
    assert "cannot be loaded: ImportError" in caplog.text


def test_a_backend_of_another_package_is_recognised_before_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "entry_points", lambda group: [_Point("tickets", Tickets)])
    assert next(iter(known_fingerprints())) == "tickets"


def test_an_option_that_a_backend_does_not_have_is_told_the_nearest() -> None:
    with pytest.raises(ConfigurationError, match="Did you mean 'path'"):
        load_backend("ag-ui", options={"paht": "/x"})
    with pytest.raises(ConfigurationError, match="which has no options"):
        load_backend("agntcy", options={"a": "b"})
    with pytest.raises(ConfigurationError, match="no meaning for agno"):
        load_backend("agno", resume_at="/x")


@pytest.mark.parametrize("subject", subjects().values(), ids=subjects())
def test_a_backend_has_fingerprints_if_auto_recognises_its_server(subject: type[Driver]) -> None:
    assert bool(load_backend(subject.backend, options=subject.options).fingerprints) == subject.recognised


UUID = "51a530c5-0087-4e4a-8844-a88dc627822a"


@pytest.mark.parametrize(
    ("name", "ids"),
    [
        ("acp", [f"{UUID}@2026-11-24T12:54:24.220690+00:00"]),
        ("agentseek", ["0" * 32]),
        ("agno", [UUID, f"{UUID}:1.0"]),
        ("agent-protocol", ["0" * 32]),
        ("llamaindex", ["J4GNI5UpDi:12"]),
        ("mastra", ["ask@1795574340418", "per.ask[0]@1795574340418"]),
        ("mastra-agent", ["call_1:484ec392b4a4"]),
    ],
)
def test_ids_have_a_form_that_keys_of_ordinary_answers_do_not_have(name: str, ids: list[str]) -> None:
    form = load_backend(name).interrupt_id_form
    assert form is not None
    assert all(form.fullmatch(id_) for id_ in ids)
    ordinary = ("answer", "a@b.example", "12:30", "2026-11-24", "question 1", "n", "Which?", "approved")
    assert not any(form.fullmatch(key) for key in ordinary)
