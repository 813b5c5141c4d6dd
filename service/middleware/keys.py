"""Who may ask: API keys, each known by its holder's name and its hash alone.

A key is 256 random bits, made by :func:`new_key`, so its SHA-256 is as safe to keep as a slow hash would be of a
password: nobody can try all keys. The file has a line for each, ``NAME HASH`` or ``NAME HASH admin``, and may hold
blank lines and ``#`` comments; two lines may name the same holder, while one key takes over from another. An admin's
key may change what is served; every key may ask.
"""

from __future__ import annotations

import errno
import hashlib
import hmac
import os
import re
import secrets
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from rowcast.models.errors import ConfigError
from rowcast.models.plain_files import take_lock
from rowcast.service.http.body import Header

NEEDED = "an API key is needed: send it as Authorization: Bearer KEY, or as X-API-Key: KEY"
UNKNOWN = "this API key is not known here"
ADMIN_NEEDED = (
    "to change what is served, a key with that right is needed: `rowcast key NAME --admin --file F` makes one"
)
_LINE = re.compile(r"([A-Za-z0-9._-]{1,64})[ \t]+([0-9a-f]{64})(?:[ \t]+(admin))?")
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_PREFIX = "rowcast_"
"""So that scanners for leaked secrets know one when they see it."""
_MOST = 10_000
_MOST_BYTES = 4 * 2**20
NO_KEY = f"it holds 0 keys; 1 to {_MOST:,} are possible"


class Key(NamedTuple):
    """What is kept of a key."""

    holder: str
    sha256: bytes
    admin: bool = False
    """Whether it may change what is served."""


class Keys:
    """The keys that open a service. They may be replaced while it runs: whoever holds this object asks the new ones.

    Args:
        hashes: what is kept of each.
    """

    def __init__(self, hashes: Iterable[Key]) -> None:
        self._hashes = tuple(hashes)
        self._on_replaced: list[Callable[[], None]] = []

    @classmethod
    def read(cls, file: Path) -> Keys:
        """The keys of a file.

        Raises:
            ConfigError: it cannot be read, holds no key, or a line is none; names the line, never what it holds.
        """
        found = parse(contents(file))
        if found.fault:
            raise ConfigError(
                f"ROWCAST_API_KEYS is a file of keys, as `rowcast key` writes it, got {file} ({found.fault})"
            )
        return cls(found.hashes)

    def __len__(self) -> int:
        return len(self._hashes)

    def replace(self, hashes: Iterable[Key]) -> bool:
        """Take other keys from now on; whether they differ from those that held."""
        hashes = tuple(hashes)
        if hashes == self._hashes:
            return False
        self._hashes = hashes
        for callback in self._on_replaced:
            callback()
        return True

    def when_replaced(self, callback: Callable[[], None]) -> None:
        """Have something done whenever the keys change: whoever remembers an answer of theirs has to forget it."""
        self._on_replaced.append(callback)

    def holder(self, headers: Iterable[Header]) -> str | None:
        """Who sent these headers: the name behind their key; None where they have no key, or one that is unknown."""
        key = key_in(headers)
        return None if key is None else self.holder_of(key)

    def admin(self, headers: Iterable[Header]) -> str | None:
        """The same where their key may change what is served; else None."""
        key = key_in(headers)
        found = None if key is None else self._find(key)
        return found.holder if found is not None and found.admin else None

    def holder_of(self, key: bytes) -> str | None:
        """The name behind a key; takes as long for any key, known or not."""
        found = self._find(key)
        return None if found is None else found.holder

    def _find(self, key: bytes) -> Key | None:
        digest = hashlib.sha256(key).digest()
        found = None
        for known in self._hashes:
            if hmac.compare_digest(digest, known.sha256):
                found = known
        return found


class Parsed(NamedTuple):
    """What a file of keys says."""

    hashes: list[Key]
    """Every line that is a key."""
    fault: str
    """What is wrong with the file; empty for nothing. Never what a line holds."""


def contents(file: Path) -> bytes | str:
    """The bytes of a file of keys, or why there are none. A pipe or a device can be read once only, and so is none."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return "it is not a plain file"
            with open(descriptor, "rb", closefd=False) as stream:  # a folder cannot be opened so, and would stay open
                text = stream.read(_MOST_BYTES + 1)
        finally:
            os.close(descriptor)
    except OSError as error:
        return str(error.strerror)
    return text if len(text) <= _MOST_BYTES else f"it holds more than {_MOST_BYTES:,} bytes"


def parse(text: bytes | str) -> Parsed:
    """The keys of a file's :func:`contents`, and the first thing that is wrong with it."""
    if isinstance(text, str):
        return Parsed([], text)
    fault = ""
    try:
        lines = text.decode().splitlines()
    except UnicodeDecodeError:
        fault = "it is not UTF-8"
        lines = text.decode(errors="replace").splitlines()
    hashes = []
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _LINE.fullmatch(line.strip())
        if match is not None:
            hashes.append(Key(match[1], bytes.fromhex(match[2]), match[3] is not None))
        else:
            fault = fault or f"line {number} is not a name and a SHA-256"
    if not fault and not 0 < len(hashes) <= _MOST:
        fault = f"it holds {len(hashes):,} keys; 1 to {_MOST:,} are possible"
    return Parsed(hashes[:_MOST], fault)


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


def new_key(name: str, file: Path, *, admin: bool = False) -> str:
    """Make a key for a holder, and add its hash to a file, which is made when it is not there (for its owner only).

    Args:
        name: the holder's.
        file: of keys.
        admin: whether it may change what is served.

    Returns:
        the key. It is kept nowhere.

    Raises:
        ConfigError: the name is none, or the file cannot be written.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(f"a holder's name is 1 to 64 letters, digits, dots, dashes and underscores, got {name!r}")
    key = _PREFIX + secrets.token_urlsafe(32)
    try:
        with _locked(file) as descriptor:
            line = f"{name} {hashlib.sha256(key.encode()).hexdigest()}{' admin' if admin else ''}\n"
            _append(descriptor, file, line.encode())
            if Keys.read(file).holder_of(key.encode()) != name:
                raise ConfigError(f"{file} was changed by someone else meanwhile: try again")
    except OSError as error:
        raise ConfigError(f"cannot write {file}: {error.strerror}") from None
    return key


@contextmanager
def _locked(file: Path) -> Iterator[int]:
    """A descriptor of a file that is made if need be, and that nobody else has locked or has replaced meanwhile."""
    while True:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            take_lock(descriptor)
            if os.path.samestat(os.fstat(descriptor), os.stat(file)):
                yield descriptor
                return
        except FileNotFoundError:  # replaced by nothing: make it again
            continue
        finally:
            os.close(descriptor)


def _append(descriptor: int, file: Path, line: bytes) -> None:
    """Add a line to a file of keys, whole or not at all.

    Raises:
        ConfigError: the file is something else, or full.
        OSError: the disk is full.
    """
    text = contents(file)
    found = parse(text)
    if found.fault and found.fault != NO_KEY:  # rather than add to something else
        Keys.read(file)
    if len(found.hashes) >= _MOST:
        raise ConfigError(f"a file holds at most {_MOST:,} keys, and {file} does: remove those that nobody uses")
    if isinstance(text, bytes) and text and not text.endswith(b"\n"):
        line = b"\n" + line  # else two keys would be one line
    before = os.fstat(descriptor).st_size
    try:
        if os.write(descriptor, line) != len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(descriptor)
    except OSError:
        os.ftruncate(descriptor, before)
        raise
