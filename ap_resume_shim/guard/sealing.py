"""Sealing: what others may not read of it lies in a shared store encrypted, under a key that is not in the store.

AES-SIV (RFC 5297) from `cryptography`: authenticated, and deterministic, so that an entry that is written twice is the
same entry, and no nonce can be repeated.
"""

from __future__ import annotations

import hmac

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV


def seal(plain: bytes, secret: str) -> bytes:
    """What `unseal` reads with the same secret, a digest of what only the reader knows."""
    return _cipher(secret).encrypt(plain, None)


def unseal(sealed: bytes, secret: str) -> bytes | None:
    """What was sealed; None where the secret is another one, or `sealed` is nothing that `seal` made."""
    try:
        return _cipher(secret).decrypt(sealed, None)
    except InvalidTag:
        return None


def _cipher(secret: str) -> AESSIV:
    return AESSIV(hmac.digest(secret.encode(), b"ap_resume_shim sealing 1", "sha512"))
