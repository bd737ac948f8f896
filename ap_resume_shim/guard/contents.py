"""Access to the contents of ledger entries.

Facts of a thread (ids, which questions were answered, whether a run is in progress) are for every caller who may resume
it. Contents (questions, state, properties, answers) are for the caller whose traffic they came from. The owner is a
digest of that caller's credentials and the thread's id, neither of which is in a store; contents in a shared store are
encrypted with it.
"""

from __future__ import annotations

import hmac
from base64 import b64decode, b64encode
from typing import Any

from ap_resume_shim.core import strictjson
from ap_resume_shim.core.steps import Entry


def owned(entry: Entry, owner: str) -> dict[str, Any]:
    """Return an entry as the ledger of one process stores it."""
    if entry.contents is None:
        return {"facts": entry.facts}
    return {"facts": entry.facts, "owner": owner, "contents": entry.contents}


def sealed(stored: Any) -> Any:
    """Return the result of `owned` with its contents encrypted, as a shared store has it."""
    from ap_resume_shim.guard.sealing import seal

    match stored:
        case {"facts": facts, "owner": str(owner), "contents": contents}:
            return {"facts": facts, "sealed": b64encode(seal(strictjson.dumps(contents), owner)).decode()}
    return stored


def seen_by(owner: str, stored: Any) -> Entry | None:
    """Return an entry with the contents that this caller may see; None for one that cannot be read."""
    match stored:
        case {"facts": dict() as facts, "sealed": str(text)}:
            return Entry(facts, _unsealed(text, owner))
        case {"facts": dict() as facts, "owner": str(other), "contents": contents}:
            return Entry(facts, contents if hmac.compare_digest(other, owner) else None)
        case {"facts": dict() as facts}:
            return Entry(facts)
    return None


def _unsealed(text: str, owner: str) -> Any:
    from ap_resume_shim.guard.sealing import unseal

    try:
        plain = unseal(b64decode(text, validate=True), owner)
    except ValueError:
        return None
    return None if plain is None else strictjson.read(plain)
