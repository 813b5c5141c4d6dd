"""Metrics on a full disk: a worker counts on, in memory, and nobody stumbles over what is left of its files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client.mmap_dict import MmapedDict

from rowcast.service.metrics.files import ReservedDict
from tests.service.servers import ROOT

COUNT = """
import logging, resource, sys
logging.basicConfig(format="%(message)s")
from rowcast.service.metrics.files import count_in_reserved_files
count_in_reserved_files()
from prometheus_client import Counter, Histogram, values
limit = int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))  # as a full disk: no byte beyond it can be taken
counters = [Counter(f"c{n}", "of a test, with a text that takes some room in the file " * 2) for n in range(400)]
histogram = Histogram("h", "of a test")
for _ in range(3):
    for counter in counters:
        counter.inc()
    histogram.observe(1.0)
assert values.MultiProcessValue()._multiprocess
print(sum(counter._value.get() for counter in counters), histogram._sum.get())
"""


def count(folder: Path, limit: int) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(folder)}
    program = [sys.executable, "-c", COUNT, str(limit)]
    return subprocess.run(program, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("limit", [16 * 1024, 40 * 1024], ids=["no room at all", "none to grow"])
def test_counting_goes_on_without_room_and_is_told_once(tmp_path: Path, limit: int) -> None:
    done = count(tmp_path, limit)
    assert done.stdout == "1200.0 3.0\n"
    assert done.returncode == 0
    assert done.stderr.count("no room for metrics in ") == 1
    assert done.stderr.count("\n") == 1
    for file in tmp_path.iterdir():
        assert file.stat().st_size == 32 * 1024
        assert all(value <= 3 for _, value, _, _ in MmapedDict.read_all_values_from_file(str(file)))


def test_with_room_all_is_in_files_and_takes_it(tmp_path: Path) -> None:
    done = count(tmp_path, 1 << 24)
    assert (done.stdout, done.stderr) == ("1200.0 3.0\n", "")
    found = {}
    for file in tmp_path.iterdir():
        assert file.stat().st_blocks * 512 >= file.stat().st_size
        found |= {key: value for key, value, _, _ in MmapedDict.read_all_values_from_file(str(file))}
    assert sum(value for key, value in found.items() if '"c' in key and "_total" in key) == 1200


def test_a_file_is_taken_up_again(tmp_path: Path) -> None:
    first = ReservedDict(str(tmp_path / "counter_1.db"))
    first.write_value("a", 1.5, 0.0)
    first.close()
    second = ReservedDict(str(tmp_path / "counter_1.db"))
    assert second.read_value("a") == (1.5, 0.0)
    second.close()
