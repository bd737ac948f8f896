"""The lines of one resume in the audit file: `sending` and `outcome`, or `not_sent`."""

from __future__ import annotations

import hashlib
import json
import uuid
from typing import TYPE_CHECKING, Any

from ap_resume_shim.core import strictjson
from ap_resume_shim.core.protocol import Mode
from ap_resume_shim.core.steps import Attempt
from ap_resume_shim.core.verdict import NOTHING, answer_of
from ap_resume_shim.policy.audit_file import AuditFile
from ap_resume_shim.policy.audit_writer import Record, now
from ap_resume_shim.policy.canonical_json import sha256
from ap_resume_shim.runtime.resume_log import ResumeLine
from ap_resume_shim.runtime.trace_context import request_id, trace_id

if TYPE_CHECKING:
    from starlette.types import Scope

    from ap_resume_shim.runtime.incoming import IncomingResume


class AuditTrail:
    """Records one resume."""

    def __init__(self, file: AuditFile, scope: Scope, caller: str, mode: Mode, convention: str | None) -> None:
        """`caller` is the digest of the caller's credentials; `convention` is that of a vendor resume."""
        self._mode, self._convention = mode, convention
        self._file, self._scope, self._caller = file, scope, caller
        self._id = str(uuid.uuid4())
        self._sending = False

    async def before_send(self, line: ResumeLine, incoming: IncomingResume, attempt: Attempt) -> None:
        """Record that the resume is about to be sent; return when the record is on the disk. Only the first call does.

        Raises `PolicyUnavailable`.
        """
        if not self._sending:
            at, facts = now(), self._facts(line)
            await self._file.record(lambda: self._record(at, "sending", facts, incoming, attempt))
            self._sending = True

    def end(self, line: ResumeLine, incoming: IncomingResume | None, attempt: Attempt | None) -> None:
        """Record the outcome, or that the resume was not sent."""
        at, outcome = now(), _outcome(line)
        if self._sending:
            self._file.note(lambda: {"time": at, "event": "outcome", "id": self._id, **outcome})
        else:
            facts = {**self._facts(line), **outcome}
            self._file.note(lambda: self._record(at, "not_sent", facts, incoming, attempt))

    def _facts(self, line: ResumeLine) -> Record:
        mode = self._mode.name.lower()
        return _present(thread_id=line.thread_id, backend=line.backend, mode=mode, convention=self._convention)

    def _record(
        self, at: str, event: str, facts: Record, incoming: IncomingResume | None, attempt: Attempt | None
    ) -> Record:
        """Return a record about the resume. Called in the thread of the file: digests of large values take time."""
        return _present(
            time=at,
            event=event,
            id=self._id,
            **facts,
            agent_id=attempt and attempt.agent_id,
            caller=self._caller,
            who=None if self._file.who is None else _header(self._scope, self._file.who),
            key=_key(self._scope),
            request_id=request_id(self._scope),
            trace_id=trace_id(self._scope),
            questions=[self._described(each.value, self._file.questions, id=each.id) for each in attempt.questions]
            if attempt
            else None,
            answer=self._answer(incoming, attempt),
        )

    def _answer(self, incoming: IncomingResume | None, attempt: Attempt | None) -> Record | None:
        """Describe the answer: one value, several by the ids of their questions, or else the answer as it was sent."""
        if attempt is not None and attempt.answers:
            answers = attempt.answers
            value = next(iter(answers.values())) if len(answers) == 1 else dict(answers)
        else:
            value = NOTHING if incoming is None else answer_of(incoming.resume)
        if value is NOTHING:
            return None
        return self._described(value, self._file.answers)

    @staticmethod
    def _described(value: Any, shown: bool, **fields: Any) -> Record:
        described = {**fields, "sha256": sha256(value)}
        if not shown:
            return described
        try:
            strictjson.dumps(value)
        except ValueError:  # NaN, which some servers accept
            value = json.dumps(value)
        return {**described, "value": value}


def _outcome(line: ResumeLine) -> Record:
    return _present(
        verdict=line.outcome,
        resume_state=line.resume_state,
        run_id=line.run_id,
        status=line.status,
        reason=line.reason,
    )


def _present(**fields: Any) -> Record:
    return {name: value for name, value in fields.items() if value is not None}


def _key(scope: Scope) -> str | None:
    key = _header(scope, b"idempotency-key")
    return None if key is None else hashlib.sha256(key.encode()).hexdigest()


def _header(scope: Scope, wanted: bytes) -> str | None:
    """Return a header field; all of its values, if it is repeated: one of them may be the client's own."""
    values = [value.decode("latin-1") for name, value in scope["headers"] if name == wanted]
    return ", ".join(values) if values else None
