"""Who may ask: API keys, each known by its holder's name and its hash alone.

A key is 256 random bits, made by :func:`new_key`, so its SHA-256 is as safe to keep as a slow hash would be of a
password: nobody can try all keys. The file has a line for each, ``NAME HASH``, and may hold blank lines and ``#``
comments; two lines may name the same holder, while one key takes over from another.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Iterable
from pathlib import Path

from models.errors import ConfigError
from service.http import Header

NEEDED = "an API key is needed: send it as Authorization: Bearer KEY, or as X-API-Key: KEY"
UNKNOWN = "this API key is not known here"
_LINE = re.compile(r"([A-Za-z0-9._-]{1,64})[ \t]+([0-9a-f]{64})")
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_PREFIX = "rowcast_"
"""So that scanners for leaked secrets know one when they see it."""
_MOST = 10_000


class Keys:
    """The keys that open a service.

    Args:
        hashes: for each key its holder and its SHA-256.
    """

    def __init__(self, hashes: Iterable[tuple[str, bytes]]) -> None:
        self._hashes = tuple(hashes)

    @classmethod
    def read(cls, file: Path) -> Keys:
        """The keys of a file.

        Raises:
            ConfigError: it cannot be read, holds no key, or a line is none; names the line, never what it holds.
        """
        setting = f"ROWCAST_API_KEYS is a file of keys, as `rowcast key` writes it, however: {file}"
        try:
            lines = file.read_text("utf-8").splitlines()
        except OSError as error:
            raise ConfigError(f"{setting} ({error.strerror})") from None
        except UnicodeDecodeError:
            raise ConfigError(f"{setting} (it is not UTF-8)") from None
        hashes = []
        for number, line in enumerate(lines, 1):
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            match = _LINE.fullmatch(line.strip())
            if match is None:
                raise ConfigError(f"{setting} (line {number} is not a name and a SHA-256)")
            hashes.append((match[1], bytes.fromhex(match[2])))
        if not 0 < len(hashes) <= _MOST:
            raise ConfigError(f"{setting} (it holds {len(hashes):,} keys; 1 to {_MOST:,} are possible)")
        return cls(hashes)

    def holder(self, headers: Iterable[Header]) -> str | None:
        """Who sent these headers: the name behind their key; None where they have no key, or one that is unknown."""
        key = key_in(headers)
        return None if key is None else self.holder_of(key)

    def holder_of(self, key: bytes) -> str | None:
        """The name behind a key; takes as long for any key, known or not."""
        digest = hashlib.sha256(key).digest()
        found = None
        for name, known in self._hashes:
            if hmac.compare_digest(digest, known):
                found = name
        return found


def key_in(headers: Iterable[Header]) -> bytes | None:
    """The key that headers bring, if any: a bearer token before ``X-API-Key``."""
    other = None
    for name, value in headers:
        if name == b"authorization":
            scheme, _, token = value.strip().partition(b" ")
            if scheme.lower() == b"bearer" and token.strip():
                return token.strip()
        elif name == b"x-api-key" and value.strip():
            other = value.strip()
    return other


def new_key(name: str, file: Path) -> str:
    """Make a key for a holder, and add its hash to a file, which is made when it is not there (for its owner only).

    Returns:
        the key. It is kept nowhere.

    Raises:
        ConfigError: the name is none, or the file cannot be written.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"a holder's name is 1 to 64 letters, digits, dots, dashes and underscores, however: {name!r}"
        )
    key = _PREFIX + secrets.token_urlsafe(32)
    try:
        if file.exists():
            Keys.read(file)  # rather than add to something else
        with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "a", encoding="utf-8") as out:
            out.write(f"{name} {hashlib.sha256(key.encode()).hexdigest()}\n")
    except OSError as error:
        raise ConfigError(f"cannot write {file}: {error.strerror}") from None
    return key
