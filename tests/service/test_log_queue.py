"""Log lines are queued: an output that nobody reads stops nobody, and what was lost is told."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
import time

from rowcast.service.middleware.log_queue import LineWriter, QueuedHandler
from tests.service.servers import ROOT

PIPE_BYTES = 1 << 20


def read_all(descriptor: int, seconds: float = 0.5) -> bytes:
    os.set_blocking(descriptor, False)
    read, give_up = b"", time.monotonic() + seconds
    while time.monotonic() < give_up:
        try:
            read += os.read(descriptor, PIPE_BYTES)
        except BlockingIOError:
            time.sleep(0.01)
    return read


def test_lines_come_out_whole_and_in_order() -> None:
    reader, output = os.pipe()
    writer = LineWriter(output)
    lines = [b"line %d\n" % n for n in range(1000)]
    for line in lines:
        writer.write(line)
    writer.flush()
    assert read_all(reader) == b"".join(lines)


def test_a_pipe_that_nobody_reads_costs_lines_and_stops_nobody() -> None:
    reader, output = os.pipe()
    writer = LineWriter(output, max_bytes=10_000)
    line = b"x" * 99 + b"\n"
    started = time.monotonic()
    for _ in range(10_000):
        writer.write(line)
    writer.flush(0.1)
    assert time.monotonic() - started < 5
    read = read_all(reader)
    writer.write(b"after\n")
    read += read_all(reader)
    assert read.endswith(b"\nafter\n")
    told = re.findall(rb"\[(\d+) log lines were dropped: nobody read them in time\]\n", read)
    assert read.count(line) + sum(map(int, told)) == 10_000
    assert sum(map(int, told)) > 9_000


def test_an_output_that_is_full_costs_lines_only() -> None:
    with open("/dev/full", "wb", buffering=0) as full:
        writer = LineWriter(full.fileno())
        writer.write(b"lost\n")
        writer.flush()
        assert writer.dropped == 1


def test_a_handler_formats_its_records() -> None:
    reader, output = os.pipe()
    handler = QueuedHandler(LineWriter(output))
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    handler.handle(logging.LogRecord("x", logging.WARNING, "", 1, "%d \udc80 \u00e4", (3,), None))
    handler.flush()
    assert read_all(reader) == "WARNING 3 \\udc80 \u00e4\n".encode()


PROGRAM = """
import logging, sys
from rowcast.service.middleware.log_queue import queue_log_lines
logging.basicConfig(stream=sys.stdout, format="%(message)s")
logging.getLogger("own").addHandler(logging.StreamHandler(sys.stderr))
queue_log_lines()
for n in range(int(sys.argv[1])):
    logging.getLogger("own").error("line %06d", n)
"""


def test_the_handlers_of_a_process_are_replaced_and_its_last_lines_are_written() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM, "3"], cwd=ROOT, capture_output=True, text=True, check=True)
    lines = ["line 000000", "line 000001", "line 000002"]
    assert done.stdout.splitlines() == lines
    assert done.stderr.splitlines() == lines


def test_a_process_ends_although_nobody_reads_its_output() -> None:
    reader, output = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "200000"], cwd=ROOT, stdout=output, stderr=subprocess.DEVNULL
    )
    os.close(output)
    try:
        assert process.wait(30) == 0
    finally:
        process.kill()
        os.close(reader)


def test_what_is_dropped_is_told_to_whoever_counts() -> None:
    reader, output = os.pipe()
    writer = LineWriter(output, max_bytes=1000)
    counted: list[int] = []
    writer.on_drop = counted.append
    for _ in range(2000):
        writer.write(b"x" * 99 + b"\n")
    assert sum(counted) == writer.dropped > 0
    with open("/dev/full", "wb", buffering=0) as full:
        unwritten = LineWriter(full.fileno())
        unwritten.on_drop = counted.append
        before = sum(counted)
        unwritten.write(b"lost\n")
        unwritten.flush()
        time.sleep(0.05)
        assert sum(counted) - before == 1
    os.close(reader)
