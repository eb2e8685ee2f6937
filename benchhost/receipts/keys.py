"""The key with which a host signs, and the public half by which anybody verifies: Ed25519 (RFC 8032)."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from benchhost.errors import UsageError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

INSTALL = "the package cryptography is not installed: pip install 'benchhost[receipts]'"


class PublicKey:
    """The public half. ``id`` is 16 hexadecimal digits of its SHA-256, by which it is spoken of."""

    def __init__(self, key: Ed25519PublicKey) -> None:
        self._key = key
        self.id = hashlib.sha256(key.public_bytes_raw()).hexdigest()[:16]

    @classmethod
    def of_pem(cls, pem: bytes) -> PublicKey:
        """Read a key as :attr:`pem` writes it.

        Raises :class:`~benchhost.errors.UsageError`.
        """
        check_cryptography_is_installed()
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
        from cryptography.hazmat.primitives.serialization import load_pem_public_key

        try:
            key = load_pem_public_key(pem)
        except ValueError:
            key = None
        if not isinstance(key, Ed25519PublicKey):
            raise UsageError("that is no public key of Ed25519 in PEM, as `benchhost receipts key` prints it")
        return cls(key)

    @property
    def pem(self) -> str:
        """The key in PEM, as other tools read it too."""
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        return self._key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

    def has_signed(self, signature: str, said: bytes) -> bool:
        """Whether a signature, in hexadecimal, is that of what was said."""
        from cryptography.exceptions import InvalidSignature

        try:
            raw = bytes.fromhex(signature)
            self._key.verify(raw, said)
        except (ValueError, InvalidSignature):
            return False
        return raw.hex() == signature  # one signature is spelled in one way


class SigningKey:
    """The private half, which stays in one file of the host."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public = PublicKey(key.public_key())

    @classmethod
    def kept(cls, path: Path) -> SigningKey:
        """Read the key in a file, which is made, for its owner alone, when there is none.

        Raises :class:`~benchhost.errors.UsageError` when the file cannot be used.
        """
        check_cryptography_is_installed()
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        try:
            if not path.exists():
                _make(path, Ed25519PrivateKey.generate())
            if path.stat().st_mode & 0o077:
                raise UsageError(f"{path} can be read by others than its owner: chmod 600, if it has never been copied")
            key = load_pem_private_key(path.read_bytes(), password=None)
        except OSError as error:
            raise UsageError(f"the key {path} cannot be used: {error.strerror}") from error
        except ValueError:
            key = None
        if not isinstance(key, Ed25519PrivateKey):
            raise UsageError(f"{path} holds no key of Ed25519. Take it from a backup, or away: then one is made anew")
        return cls(key)

    def sign(self, said: bytes) -> str:
        """Sign something; the signature is in hexadecimal."""
        return self._key.sign(said).hex()


def check_cryptography_is_installed() -> None:
    """Make sure that keys can be used.

    Raises :class:`~benchhost.errors.UsageError`.
    """
    try:
        import cryptography  # noqa: F401
    except ImportError:
        raise UsageError(INSTALL) from None


def _make(path: Path, key: Ed25519PrivateKey) -> None:
    """Write a new key, unless another process is faster."""
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(fresh, path)  # whole or not at all, and only if nobody was faster
    except FileExistsError:
        return
    finally:
        fresh.unlink()
