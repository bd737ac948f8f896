"""The backends by name."""

from __future__ import annotations

import pytest

from ap_resume_shim.backends import BACKENDS, load_backend
from ap_resume_shim.core.errors import ConfigurationError


@pytest.mark.parametrize("name", BACKENDS)
def test_every_backend_is_loaded_by_its_name_and_says_what_a_thread_is(name: str) -> None:
    dialect = load_backend(name)
    assert dialect.name == name
    assert dialect.thread_is.endswith(".")


def test_a_name_that_is_none_is_told_the_nearest() -> None:
    with pytest.raises(ConfigurationError, match="Did you mean 'langgraph'"):
        load_backend("langraph")
    with pytest.raises(ConfigurationError, match="there are auto, native, langgraph"):
        load_backend("crew")


@pytest.mark.parametrize("name", ["langgraph", "aegra"])
def test_the_place_of_the_answer_is_fixed_where_there_is_but_one(name: str) -> None:
    with pytest.raises(ConfigurationError, match="resume_at has no meaning"):
        load_backend(name, resume_at="/command/resume")
