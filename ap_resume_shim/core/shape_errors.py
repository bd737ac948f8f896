"""Wraps a dialect so that its exceptions become errors for the client.

Dialects read responses in the shapes that servers were recorded to send. If a response has another shape, the resulting
exception becomes `UpstreamUnrecognised`, here and nowhere else; the flow knows whether the resume was sent by then.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import GeneratorType, MethodType
from typing import Any, cast

from ap_resume_shim.core.dialect import C, Dialect, Found, Started
from ap_resume_shim.core.errors import ResumeError, UpstreamUnrecognised
from ap_resume_shim.core.http import Response
from ap_resume_shim.core.reframer import Ended, Relay, Wrapped
from ap_resume_shim.core.steps import ClientGone, ReadUntilIdle, Steps


def recognising(dialect: Dialect[C]) -> Dialect[C]:
    """Return a wrapper of the dialect whose unexpected exceptions are `UpstreamUnrecognised`.

    This covers its methods, and the generators and reframers that they return. A wrapper is returned unchanged.
    """
    if isinstance(dialect, _RecognisingDialect):
        return dialect
    return cast("Dialect[C]", _RecognisingDialect(dialect))


class _RecognisingDialect:
    def __init__(self, dialect: Dialect[Any]) -> None:
        self._dialect = dialect

    def __getattr__(self, name: str) -> Any:
        """Return the dialect's attribute, and store it: a dialect does not change."""
        attribute = getattr(self._dialect, name)
        self.__dict__[name] = attribute = _wrapped(attribute) if isinstance(attribute, MethodType) else attribute
        return attribute

    def refusal(self, response: Response) -> ResumeError:
        """Return the refusal; `UpstreamUnrecognised` if the dialect cannot read it."""
        try:
            with _SHAPE_ERRORS:
                return self._dialect.refusal(response)
        except ResumeError as error:
            return error


def _wrapped(method: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **options: Any) -> Any:
        with _SHAPE_ERRORS:
            value = method(*args, **options)
            if isinstance(value, GeneratorType):
                return _steps(value)
            if hasattr(value, "feed") and not isinstance(value, Relay):
                return _RecognisingReframer(value)
            return _checked(value)

    return call


def _steps(steps: Steps[Any]) -> Steps[Any]:
    """Run the same steps.

    Exceptions from a step, such as those of an app in the same process, pass through unchanged.
    """
    result: Any = None
    thrown: Exception | None = None
    while True:
        try:
            with _SHAPE_ERRORS if thrown is None else _ShapeErrors(unless=thrown):
                step = steps.send(result) if thrown is None else steps.throw(thrown)
        except StopIteration as ended:
            with _SHAPE_ERRORS:
                return _checked(ended.value)
        result, thrown = None, None
        if isinstance(step, ReadUntilIdle):
            step = replace(step, enough=_wrapped(step.enough))
        try:
            result = yield step
        except Exception as failure:
            thrown = failure


class _RecognisingReframer(Wrapped):
    def feed(self, chunk: bytes) -> bytes:
        with _SHAPE_ERRORS:
            return self._inner.feed(chunk)

    def finish(self) -> bytes:
        with _SHAPE_ERRORS:
            return self._inner.finish()

    def ended(self) -> Ended:
        with _SHAPE_ERRORS:
            return self._inner.ended()


class _ShapeErrors:
    """Context manager that raises `UpstreamUnrecognised` for an unexpected exception; it can be reused and shared."""

    def __init__(self, unless: Exception | None = None) -> None:
        self._unless = unless

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if error is None or isinstance(error, ResumeError | ClientGone | StopIteration):
            return
        if isinstance(error, Exception) and error is not self._unless:
            raise UpstreamUnrecognised(
                "The backend's response has a shape that its dialect does not know. The log of the shim has the "
                "details."
            ) from error


_SHAPE_ERRORS = _ShapeErrors()


def _checked(value: Any) -> Any:
    """Return a dialect's result. Raises `TypeError` or `UnicodeError` for ids and times that are not encodable text."""
    if isinstance(value, Found):
        _check_text(value.run_id, value.agent_id, value.updated_at, *(interrupt.id for interrupt in value.interrupts))
    elif isinstance(value, Started):
        _check_text(value.run_id, value.agent_id, value.created_at, value.updated_at)
    return value


def _check_text(*texts: Any) -> None:
    for text in texts:
        if text is not None:
            str.encode(text)
