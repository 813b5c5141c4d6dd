"""API keys: made once, kept as hashes, looked for in two headers."""

from __future__ import annotations

import fcntl
import hashlib
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from rowcast.models import plain_files
from rowcast.models.errors import ConfigError
from rowcast.service.middleware.keys import Keys, key_in, new_key
from tests.service.servers import ROOT


def test_a_new_key_opens_and_is_kept_as_a_hash_for_its_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "keys.txt"
    alice, bob = new_key("alice", file), new_key("bob", file)
    assert alice != bob
    assert len(alice) > 43  # 256 bits, and the prefix
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert alice not in file.read_text()
    keys = Keys.read(file)
    assert keys.holder_of(alice.encode()) == "alice"
    assert keys.holder_of(bob.encode()) == "bob"
    assert keys.holder_of(alice.encode()[:-1]) is None
    assert keys.holder_of(hashlib.sha256(alice.encode()).hexdigest().encode()) is None


def test_a_holder_may_have_two_keys_while_one_takes_over(tmp_path: Path) -> None:
    file = tmp_path / "keys.txt"
    old, new = new_key("alice", file), new_key("alice", file)
    assert {Keys.read(file).holder_of(key.encode()) for key in (old, new)} == {"alice"}


@pytest.mark.parametrize(
    ("headers", "key"),
    [
        ([(b"authorization", b"Bearer abc")], b"abc"),
        ([(b"authorization", b"bearer  abc ")], b"abc"),
        ([(b"x-api-key", b"abc")], b"abc"),
        ([(b"x-api-key", b"other"), (b"authorization", b"Bearer abc")], b"abc"),
        ([(b"authorization", b"Basic YTpi"), (b"x-api-key", b"abc")], b"abc"),
        ([(b"authorization", b"Basic YTpi")], None),
        ([(b"authorization", b"abc")], None),
        ([(b"authorization", b"Bearer ")], None),
        ([(b"x-api-key", b"")], None),
        ([], None),
    ],
)
def test_a_key_is_a_bearer_token_or_has_a_header_of_its_own(
    headers: list[tuple[bytes, bytes]], key: bytes | None
) -> None:
    assert key_in(headers) == key


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("", "it holds 0 keys"),
        ("# only this\n\n", "it holds 0 keys"),
        ("alice " + "0" * 63, "line 1 is not a name and a SHA-256"),
        (f"alice {'0' * 64}\nhunter2\n", "line 2 is not a name and a SHA-256"),
        (f"{'a' * 65} {'0' * 64}", "line 1 is not"),
        (b"\xff\xfe", "it is not UTF-8"),
    ],
)
def test_a_file_that_is_none_is_refused_without_telling_what_it_holds(
    tmp_path: Path, content: str | bytes, fault: str
) -> None:
    file = tmp_path / "keys.txt"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ConfigError) as caught:
        Keys.read(file)
    assert fault in str(caught.value)
    assert "hunter2" not in str(caught.value)
    before = file.read_bytes()
    if "0 keys" not in fault:
        with pytest.raises(ConfigError, match="ROWCAST_API_KEYS"):
            new_key("bob", file)
        assert file.read_bytes() == before


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.txt \(No such file or directory\)"):
        Keys.read(tmp_path / "absent.txt")


def test_a_file_that_somebody_else_keeps_locked_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain_files, "LOCK_SECONDS", 0.05)
    file = tmp_path / "keys.txt"
    new_key("alice", file)
    with file.open() as held:
        fcntl.flock(held, fcntl.LOCK_SH)
        with pytest.raises(
            ConfigError, match=r"cannot write .*keys\.txt: it has been locked by another process for 0\.05 seconds"
        ):
            new_key("bob", file)
    assert len(Keys.read(file)) == 1


def test_the_command_prints_the_key_alone(tmp_path: Path) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        say = [sys.executable, "-m", "rowcast", "key", *arguments]
        return subprocess.run(say, cwd=ROOT, capture_output=True, text=True, check=False)

    done = run("alice", "--file", str(tmp_path / "keys.txt"))
    assert done.returncode == 0
    key = done.stdout.removesuffix("\n")
    assert Keys.read(tmp_path / "keys.txt").holder_of(key.encode()) == "alice"
    assert key not in done.stderr
    refused = run("a b", "--file", str(tmp_path / "keys.txt"))
    assert refused.returncode == 2
    assert "a holder's name is 1 to 64 letters" in refused.stderr
    assert len((tmp_path / "keys.txt").read_text().splitlines()) == 1
