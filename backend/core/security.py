"""Secrets: making, checking and keeping them.

Keys and tokens are shown once and kept as SHA-256: they carry 190 bits or more, so a slow hash would add nothing.
Passwords are kept with argon2.
"""

import hashlib
import hmac
import os
import secrets
import string
import zlib
from functools import cache
from pathlib import Path

from pwdlib import PasswordHash

from backend.core.config import Settings

ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
API_KEY_PREFIX = "hoop_live_"
SHARE_PREFIX = "hoop_share_"
SESSION_COOKIE = "hoop_session"

_KEY_LENGTH = 32
_CHECKSUM_LENGTH = 6


def new_token(prefix: str = "") -> str:
    """Return a fresh 256-bit token, safe in addresses."""
    return prefix + secrets.token_urlsafe(32)


def token_sha256(token: str) -> str:
    """Return what is stored of a token or key: the hex digest of its SHA-256."""
    return hashlib.sha256(token.encode()).hexdigest()


def new_api_key() -> str:
    """Return a fresh key ``hoop_live_<32 base62 characters>_<checksum>``.

    The checksum (CRC-32, base62) lets scanners of leaked secrets, and people who type, tell a key from noise without
    asking the database.
    """
    body = API_KEY_PREFIX + "".join(secrets.choice(ALPHABET) for _ in range(_KEY_LENGTH))
    return f"{body}_{_checksum(body)}"


def looks_like_api_key(key: str) -> bool:
    """Whether a key has the right shape and checksum. It may still be unknown or revoked."""
    body, _, checksum = key.rpartition("_")
    return (
        key.isascii()
        and body.startswith(API_KEY_PREFIX)
        and len(body) == len(API_KEY_PREFIX) + _KEY_LENGTH
        and hmac.compare_digest(_checksum(body), checksum)
    )


def key_prefix(key: str) -> str:
    """Return the start of a key, which lists show so that people can tell keys apart."""
    return key[: len(API_KEY_PREFIX) + 4]


def _checksum(body: str) -> str:
    number = zlib.crc32(body.encode())
    digits = []
    for _ in range(_CHECKSUM_LENGTH):
        number, digit = divmod(number, len(ALPHABET))
        digits.append(ALPHABET[digit])
    return "".join(reversed(digits))


@cache
def _passwords() -> PasswordHash:
    return PasswordHash.recommended()


def hash_password(password: str) -> str:
    """Return the argon2 hash of a password."""
    return _passwords().hash(password)


def verify_password(password: str, password_hash: str | None) -> bool:
    """Whether the password is right. Takes the same time when there is no hash to compare with."""
    if password_hash is None:
        _passwords().verify(password, _dummy_hash())
        return False
    return _passwords().verify(password, password_hash)


@cache
def _dummy_hash() -> str:
    return hash_password(secrets.token_hex(8))


def sign(message: str, settings: Settings) -> str:
    """Return the signature of a message under this installation's secret (HMAC-SHA-256, 32 hex digits)."""
    return hmac.new(secret_key(settings), message.encode(), hashlib.sha256).hexdigest()[:32]


def check_signature(message: str, signature: str, settings: Settings) -> bool:
    """Whether `signature` is the one that `sign` gave, compared in constant time."""
    return signature.isascii() and hmac.compare_digest(sign(message, settings), signature)


def secret_key(settings: Settings) -> bytes:
    """Return the installation's secret: the setting, or the one kept in DATA_DIR/secret, made on first use."""
    if settings.secret_key:
        return settings.secret_key.encode()
    return _kept_secret(settings.data_dir / "secret")


@cache
def _kept_secret(path: Path) -> bytes:
    try:
        return path.read_bytes().strip()
    except FileNotFoundError:
        pass
    # Written beside and linked into place, so that of several processes that start at once all read the same secret
    # and none reads half of one.
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    write_private(draft, secrets.token_hex(32))
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
    return path.read_bytes().strip()


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read (mode 600), replacing what was there."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}.new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
