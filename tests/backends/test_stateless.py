"""One instance of a dialect serves all resumes at once: it does not change after construction."""

from __future__ import annotations

import json
import pickle
from typing import Any

import pytest

from ap_resume_shim.backends import backend_names, load_backend
from ap_resume_shim.core.dialect import Dialect
from ap_resume_shim.core.protocol import Mode, parse
from ap_resume_shim.tools.explain import explain, recorded_answers
from tests.backends.playing import accepted_answer


def state(dialect: Dialect[Any]) -> bytes:
    """All that an instance and its class hold, down to the last item."""
    of_class = {name: value for name, value in vars(type(dialect)).items() if not callable(value)}
    data = {name: value for name, value in of_class.items() if not name.startswith("__") and not _is_code(value)}
    return pickle.dumps((vars(dialect), data))


def _is_code(value: object) -> bool:
    return isinstance(value, property | classmethod | staticmethod)


@pytest.mark.parametrize("name", backend_names())
def test_a_resume_leaves_no_trace_on_the_dialect(name: str) -> None:
    dialect = load_backend(name)
    before = state(dialect)
    for mode in Mode:
        raw = json.dumps({"thread_id": "b0c2f5e6-51a4-4a79-a5f4-1b9a5c5e7f10", "input": accepted_answer(name)})
        resume = parse(raw.encode(), mode, now="2026-11-24T12:00:00+00:00", nonce="n" * 32)
        assert any(sent.what == "resume" for sent in explain(resume, dialect, recorded_answers(name)))
    assert state(dialect) == before
