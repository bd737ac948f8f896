"""Certificates for tests: an authority and the certificates that it signs, made by the `openssl` command."""

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
    """The files of a certificate and its key."""

    certificate: Path
    key: Path


class Authority:
    """A certificate authority; its certificates are for 127.0.0.1 and localhost."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self._folder, self._name = folder, name
        self._key, self.certificate = folder / f"{name}.key", folder / f"{name}.pem"
        use = ("-addext", "keyUsage=critical,keyCertSign")
        _openssl("req", "-x509", *_new(self._key), "-subj", f"/CN={name}", *use, "-days", "2", "-out", self.certificate)

    def pair(self, name: str, password: str | None = None) -> Pair:
        """Make a key and a signed certificate; with `password`, the key is encrypted."""
        files = Pair(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        request, extensions = self._folder / f"{name}.csr", self._folder / f"{name}.ext"
        extensions.write_text(_EXTENSIONS)
        _openssl("req", *_new(files.key, password), "-subj", f"/CN={name}", "-out", request)
        signing = ("-CA", self.certificate, "-CAkey", self._key, "-CAcreateserial", "-days", "2")
        _openssl("x509", "-req", "-in", request, *signing, "-extfile", extensions, "-out", files.certificate)
        return files


def _new(key: Path, password: str | None = None) -> tuple[str | Path, ...]:
    secrecy = ("-noenc",) if password is None else ("-passout", f"pass:{password}")
    return ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", *secrecy, "-keyout", key)


def _openssl(*arguments: str | Path) -> None:
    process = subprocess.run(["openssl", *arguments], capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
