"""The base class of all steps."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from ap_resume_shim.core.steps import Step

T_co = TypeVar("T_co", covariant=True)


class Returns(Generic[T_co]):
    """A step whose result is a `T_co`: `result = yield from step` has that type.

    For the type checker, a plain `yield step` is an `object`.
    """

    __slots__ = ()

    def __iter__(self) -> Generator[Step, Any, T_co]:
        result: T_co = yield self  # type: ignore[misc]  # every subclass is a member of `Step`
        return result
