"""Checks of answers: refuses values that the server of a profile does not carry unchanged."""

from __future__ import annotations

from typing import Any, get_args

from ap_resume_shim.core.dialect import Answers, Found
from ap_resume_shim.core.errors import MultipleInterrupts, UnsupportedInput
from ap_resume_shim.core.json_values import SAFE, Carries, is_hex32
from ap_resume_shim.profiles.schema import Profile, ResumeTable, Type


def answer_value(table: ResumeTable, verdict: Answers, found: Found[None]) -> Any:
    """Return the value for the place of the answer.

    This is the object of answers by interrupt id, if the server accepts one here, else the only answer.
    """
    several = len(found.interrupts) > 1
    if None not in verdict.by_id and (table.keyed == "always" or (table.keyed == "several" and several)):
        return verdict.by_id
    return next(iter(verdict.by_id.values()))


def check_recipient(table: ResumeTable, found: Found[None]) -> None:
    """Raise `MultipleInterrupts` if several interrupts are pending and the server cannot tell their answers apart."""
    if table.keyed == "never" and len(found.interrupts) > 1:
        raise MultipleInterrupts(
            f"{len(found.interrupts)} interrupts are pending, and this backend cannot distinguish which one an answer "
            "is for. Let the agent ask one question at a time.",
            found.interrupts,
        )


def check_carried(profile: Profile, verdict: Answers, found: Found[None]) -> None:
    """Raise `UnsupportedInput` for an answer that would not reach the agent unchanged."""
    value = answer_value(profile.resume, verdict, found)
    if value is not verdict.by_id:
        _check_type(profile, value)
    loses = profile.resume.loses
    integers, nul = SAFE if "large_integers" in loses else None, "nul_characters" not in loses
    Carries(f"The {profile.name} backend", integers, nul=nul).check(verdict.values)


def _check_type(profile: Profile, value: Any) -> None:
    table = profile.resume
    if _type_of(value) not in table.types:
        raise UnsupportedInput(
            f"The {profile.name} backend does not carry the {_type_of(value)} of this answer unchanged: "
            f"send {_join_types(table.types)}."
        )
    if table.reads_maps and isinstance(value, dict) and all(map(is_hex32, value)):
        raise UnsupportedInput(
            f"The {profile.name} backend treats an empty object, or one keyed by interrupt ids, as something "
            "other than an answer: wrap it in an object."
        )


def _type_of(value: Any) -> Type:
    """Return the JSON type of a value."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else "boolean"
    kinds: tuple[tuple[type | tuple[type, ...], Type], ...] = (
        ((int, float), "number"),
        (str, "string"),
        (list, "array"),
        (dict, "object"),
    )
    return next(name for kind, name in kinds if isinstance(value, kind))


def _join_types(types: list[Type]) -> str:
    names = [name for name in get_args(Type) if name in types]
    return " or ".join(f"an {name}" if name[0] in "ao" else "null" if name == "null" else f"a {name}" for name in names)
