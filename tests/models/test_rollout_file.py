"""What is wrong with `rollout.json` is one short line, and what it says is said once."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from rowcast.models.errors import ModelRefused
from rowcast.models.rollout import ROLLOUT_FILE, name_version, read_rollout


def refused(home: Path, text: str) -> str:
    """What is said of such a file."""
    (home / ROLLOUT_FILE).write_text(text)
    with pytest.raises(ModelRefused) as caught:
        read_rollout(home)
    return str(caught.value)


def test_a_key_of_any_length_makes_a_short_line(tmp_path: Path) -> None:
    line = refused(tmp_path, json.dumps({"x" * 900_000: 1}))
    words = (
        f"is not as `rowcast rollout` writes it: {'x' * 200}...: Extra inputs are not permitted; correct or remove it"
    )
    assert line == f"{tmp_path / ROLLOUT_FILE} {words}"
    assert len(refused(tmp_path, json.dumps({"aliases": {"A" * 900_000: 1}}))) < 1000
    assert "\x1b" not in refused(tmp_path, json.dumps({"\x1b[2J": 1}))


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('{"canary": {"version": 2, "share": 0.01}, "canary": {"version": 2, "share": 1}}', "canary"),
        ('{"aliases": {"champion": 1, "champion": 2}}', "champion"),
        ('{"liv\\u0065": 1, "live": 2}', "live"),
    ],
)
def test_a_key_that_stands_twice_is_refused(tmp_path: Path, text: str, key: str) -> None:
    assert f"{key}: an object must have each key once, got this one twice; correct or" in refused(tmp_path, text)


@pytest.mark.parametrize("text", ["", "nonsense", "[" * 100_000, '{"live": ' + "9" * 10_000 + "}", '{"live": 1e999}'])
def test_what_is_no_json_is_refused_in_a_short_line(tmp_path: Path, text: str) -> None:
    assert len(refused(tmp_path, text)) < 1000


def test_a_change_that_is_in_the_file_holds_though_the_folder_cannot_be_flushed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(descriptor: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr("os.fsync", fails)  # as a disk does that ails
    assert name_version(tmp_path, "champion", 1, "operator").aliases == {"champion": 1}
    assert read_rollout(tmp_path).aliases == {"champion": 1}
    assert caplog.messages == [
        f"{tmp_path / ROLLOUT_FILE} is as it was changed, and may not be after a power failure: Input/output error"
    ]
