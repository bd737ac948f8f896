"""Certificates for tests: an authority, and what it signs. Made by openssl."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

_EXTENSIONS = """basicConstraints=CA:FALSE
subjectAltName=IP:127.0.0.1,DNS:localhost
subjectKeyIdentifier=hash
authorityKeyIdentifier=keyid
"""


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, as files."""

    certificate: Path
    key: Path


class Authority:
    """One who signs certificates, all of them for 127.0.0.1."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self._folder, self._name = folder, name
        self._key, self.certificate = folder / f"{name}.key", folder / f"{name}.pem"
        use = ("-addext", "keyUsage=critical,keyCertSign")
        _openssl("req", "-x509", *_new(self._key), "-subj", f"/CN={name}", *use, "-days", "2", "-out", self.certificate)

    def pair(self, name: str, password: str | None = None) -> Pair:
        """A certificate that it signs."""
        made = Pair(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        request, extensions = self._folder / f"{name}.csr", self._folder / f"{name}.ext"
        extensions.write_text(_EXTENSIONS)
        _openssl("req", *_new(made.key, password), "-subj", f"/CN={name}", "-out", request)
        signing = ("-CA", self.certificate, "-CAkey", self._key, "-CAcreateserial", "-days", "2")
        _openssl("x509", "-req", "-in", request, *signing, "-extfile", extensions, "-out", made.certificate)
        return made


def _new(key: Path, password: str | None = None) -> tuple[str | Path, ...]:
    secrecy = ("-noenc",) if password is None else ("-passout", f"pass:{password}")
    return ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", *secrecy, "-keyout", key)


def _openssl(*words: str | Path) -> None:
    ended = subprocess.run(["openssl", *words], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
