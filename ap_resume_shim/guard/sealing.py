"""Encryption of data in a shared store, with a key that is not in the store.

AES-SIV (RFC 5297) from `cryptography`: authenticated, and deterministic, so that an entry that is written twice is the
same entry, and no nonce can be repeated.
"""

from __future__ import annotations

import hmac

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV


def seal(plain: bytes, secret: str) -> bytes:
    """Encrypt `plain`. `secret` is a digest of facts that only the reader knows."""
    return _cipher(secret).encrypt(plain, None)


def unseal(sealed: bytes, secret: str) -> bytes | None:
    """Return the decrypted bytes; None if the secret differs, or `seal` did not produce `sealed`."""
    try:
        return _cipher(secret).decrypt(sealed, None)
    except InvalidTag:
        return None


def _cipher(secret: str) -> AESSIV:
    return AESSIV(hmac.digest(secret.encode(), b"ap_resume_shim sealing 1", "sha512"))
