"""Each service has a folder of its own for its counts, and removes those that are left over."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.service.servers import ROOT

USE = """
import os, sys
from bentoml._internal.configuration.containers import BentoMLContainer
from rowcast.service.metrics.folder import use_own_metrics_folder
use_own_metrics_folder()
print(BentoMLContainer.prometheus_multiproc_dir.get(), flush=True)
sys.stdin.read()
"""


@contextmanager
def used(home: Path) -> Iterator[tuple[Path, subprocess.Popen[str]]]:
    """A process that uses a folder of its own, and that folder."""
    env = {**os.environ, "BENTOML_HOME": str(home)}
    say = [sys.executable, "-c", USE]
    with subprocess.Popen(say, cwd=ROOT, env=env, stdin=-1, stdout=-1, text=True) as process:
        assert process.stdout is not None
        yield Path(process.stdout.readline().strip()), process


def test_two_services_of_one_home_share_no_folder_and_leave_none(tmp_path: Path) -> None:
    with used(tmp_path) as (first, _):
        assert first.stat().st_mode & 0o777 == 0o700
        (first / "counter.db").touch()
        with used(tmp_path) as (second, _):
            assert first != second
            assert first.parent == second.parent == tmp_path / "rowcast-metrics"
            assert (first / "counter.db").exists()
    assert list((tmp_path / "rowcast-metrics").iterdir()) == []


def test_what_a_killed_service_left_is_removed_by_the_next(tmp_path: Path) -> None:
    with used(tmp_path) as (left, process):
        process.kill()
    assert left.is_dir()
    with used(tmp_path) as (own, _):
        assert not left.exists()
        assert sorted(path.name for path in own.parent.iterdir()) == [own.name, f"{own.name}.lock"]


def test_a_home_that_cannot_be_written_is_no_reason_to_end(tmp_path: Path) -> None:
    (tmp_path / "rowcast-metrics").write_text("a file is in the way")
    with used(tmp_path) as (folder, process):
        assert folder == tmp_path / "prometheus_multiproc_dir"
    assert process.returncode == 0
