"""Fits by two processes, many of them for the price of one start of torchrun.

torchrun starts two processes that import everything. For each scenario each of them forks a child, which takes
torchrun's variables and its store and runs a command; a child may be killed, and the next scenario goes on.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

LIMIT_S = 240.0


def run(scenarios: dict[str, dict[str, Any]], folder: Path) -> dict[str, dict[str, Any]]:
    """Run scenarios, one after the other.

    Args:
        scenarios: by name. Each has ``commands``, the arguments of ``rowcast`` for each of two processes; it may have
            ``version``, that of Rowcast in the second, and ``signal``, with ``to`` the process that gets it after two
            epochs.
        folder: empty; for what they print.

    Returns:
        by name ``codes``, the exit code of each process, and ``out`` and ``err``, what each printed.
    """
    (folder / "scenarios.json").write_text(json.dumps(scenarios))
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [*torchrun, "-m", "tests.support.together", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=LIMIT_S, check=False)
    assert done.returncode == 0, done.stderr

    def of(name: str, what: str) -> list[str]:
        return [(folder / f"{name}-{what}-{rank}").read_text() for rank in (0, 1)]

    return {
        name: {"codes": [int(code) for code in of(name, "code")], "out": of(name, "out"), "err": of(name, "err")}
        for name in scenarios
    }


def _one(number: int, name: str, scenario: dict[str, Any], rank: int, folder: Path) -> None:
    """Run this process's part of a scenario in a child."""
    child = _forked(number, name, scenario, rank, folder)
    if "signal" in scenario and scenario["to"] == rank:
        shown = folder / f"{name}-err-0"
        while not shown.exists() or shown.read_text().count("epoch ") < 2:
            time.sleep(0.01)
        os.kill(child, scenario["signal"])
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    (folder / f"{name}-code-{rank}").write_text(str(code))


def _forked(number: int, name: str, scenario: dict[str, Any], rank: int, folder: Path) -> int:
    process = os.fork()
    if process:
        return process
    code = 1
    try:
        for stream, what in ((1, "out"), (2, "err")):
            os.dup2(os.open(folder / f"{name}-{what}-{rank}", os.O_WRONLY | os.O_CREAT), stream)
        os.environ["TORCHELASTIC_RESTART_COUNT"] = str(number)  # in the store each scenario has a place of its own
        if "version" in scenario and rank == 1:
            start.VERSION = scenario["version"]
        main(scenario["commands"][rank])
    except SystemExit as error:
        code = int(error.code or 0)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    import rowcast.api.display
    import rowcast.training.ranks.together
    import rowcast.training.refit
    import rowcast.training.train  # noqa: F401 - all of these before a process is forked
    from rowcast.cli import main
    from rowcast.training.ranks import start

    signal.signal(signal.SIGINT, signal.default_int_handler)
    at = Path(sys.argv[1])
    for n, (called, one) in enumerate(json.loads((at / "scenarios.json").read_text()).items()):
        _one(n, called, one, int(os.environ["RANK"]), at)
