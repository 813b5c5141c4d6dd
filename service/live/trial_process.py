"""The process in which a version is tried: its input is a task in JSON.

It reads the version from the repository and compares hashes, gives its bytes to the supervisor, sealed, and runs those
very bytes (:mod:`rowcast.service.live.checks`). Its output ends with a verdict in JSON. Whatever else becomes of it (a
crash, too much memory, no end) is a verdict as well, and touches nobody who serves.

The work is done by a child of this process. The supervisor's own children are waited for by circus, which keeps their
exit codes to itself; this process tells how the child ended. Both are at low priority while others serve, and neither
outlives the supervisor. Where memory runs out, the kernel takes the child before any worker.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import traceback
from pathlib import Path

from rowcast.models.machine.parent import end_with


def main() -> None:
    """Try a version, and write the verdict to standard output."""
    task = json.load(sys.stdin)
    if not end_with(task["supervisor"], signal.SIGKILL):
        return
    os.nice(task["nice"])
    parent = os.getpid()
    child = os.fork()  # nothing is loaded yet, and no thread runs
    if child == 0:
        try:
            if end_with(parent, signal.SIGKILL):
                _be_first_to_go()
                from rowcast.service.live.trial import work

                work(task)
        except Exception:  # noqa: BLE001 - whatever it is, the supervisor tells its last line
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(0)  # what a graph of somebody's has left behind need not be tidied up
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    if code:
        print(json.dumps({"signal": -code if code < 0 else 0}))


def _be_first_to_go() -> None:
    with contextlib.suppress(OSError):  # no Linux
        Path("/proc/self/oom_score_adj").write_text("1000")


if __name__ == "__main__":
    main()
