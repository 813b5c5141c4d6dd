"""Proof: a fit that was killed at any moment and resumed gives the model, to the last bit, of a fit that never was.

A table with every kind of column is trained by `rowcast train --checkpoint DIR --resume`, once to its end and then
killed (SIGKILL) at random moments, a while after a random epoch of all, and started again with the same command until
it publishes. Graph and weights must be those of the fit that ran through. So must those of a fit that
SIGTERM ended, which published its best so far, and that then went on. Each command runs in a process of its own, forked
from one that has imported everything and run nothing.

    make proof-resume
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

import rowcast.training.train  # noqa: F401 - imported before the processes are forked
from rowcast.cli import main as main_of_command
from rowcast.models import Repository
from rowcast.training.fit import checkpoint
from rowcast.training.fit.sealed import read_sealed
from tests.support import tables

ROWS = 2_000
EPOCHS = 80
"""Of both fits together."""
FIELDS = (
    *("fit.seeds=2", f"fit.epochs={EPOCHS // 2}", "fit.patience=100", "network.members=2", "network.layers=[64,64]"),
    *("augment.swap=0.05", "features.oblique_angles=4"),
)
TARGET = "amount"


def child(work: Callable[[], object], log: Path, threads: int) -> int:
    """Do ``work`` in a process of its own that prints to a log; returns its id."""
    process = os.fork()
    if process == 0:
        code = 1
        try:
            stream = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(stream, 1)
            os.dup2(stream, 2)
            torch.set_num_threads(threads)
            checkpoint.LEAST_SECONDS = 0.0  # so that a short fit is kept as often as a long one
            work()
            code = 0
        except SystemExit as error:
            code = int(error.code or 0)
        finally:
            sys.stdout.flush()
            os._exit(code)
    return process


def ended(process: int) -> int:
    """Wait for a process; its exit code."""
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


@dataclass(frozen=True)
class Training:
    """A table, and the folders that a training of it uses."""

    table: Path
    home: Path
    threads: int

    @property
    def checkpoint(self) -> Path:
        """Of the fit."""
        return self.home / "checkpoint"

    def start(self) -> int:
        """Run the command, always the same, in a new process; its id."""
        settings = [argument for field in FIELDS for argument in ("--set", field)]
        command = ["train", str(self.table), "--target", TARGET, *settings, "--repository", f"{self.home}/repository"]
        command += ["--name", "m", "--checkpoint", str(self.checkpoint), "--resume"]
        return child(lambda: main_of_command(command), self.home / "log", self.threads)

    def run(self) -> None:
        """Start it and wait for its end."""
        if ended(self.start()) != 0:
            raise SystemExit((self.home / "log").read_text())

    def wait_for(self, epochs: int) -> None:
        """Wait until so many epochs are over, or all is."""
        log = self.home / "log"
        while not log.exists() or ((text := log.read_text()).count("epoch ") < epochs and "published" not in text):
            time.sleep(0.002)

    def hashes(self, version: int | None = None) -> tuple[str, str]:
        """Of the graph and of the weights that were published."""
        files = Repository(self.home / "repository").open("m", version).manifest.files
        return files["model.onnx"], files["weights.safetensors"]

    def kept(self) -> str:
        """How far the fit had come that the checkpoint holds."""
        done = len(list(self.checkpoint.glob("done-*.safetensors")))
        try:
            _, facts = read_sealed(self.checkpoint / "fit.safetensors")
        except FileNotFoundError:
            return f"{done} fits" if done else "nothing"
        return f"{done} fits, and epoch {facts['epoch']} of one" if facts["number"] == done else f"{done} fits"


def main() -> int:
    """Kill, resume, compare; exit code 0 if every pair of hashes is the one of the fit that ran through."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20, help="how many fits to kill")
    parser.add_argument("--threads", type=int, default=2, help="of each fit")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "table.csv"
        ended(child(lambda: tables.every_kind(ROWS).drop("class").write_csv(table), Path(folder) / "log", 1))

        def fresh() -> Training:
            home = Path(folder) / "home"
            shutil.rmtree(home, ignore_errors=True)
            home.mkdir()
            return Training(table, home, arguments.threads)

        whole = fresh()
        whole.run()
        expected = whole.hashes()
        print(f"a fit that ran through: graph {expected[0][:12]}, weights {expected[1][:12]}")
        print("run  killed after      the checkpoint then held        graph         weights       equal")
        equal = 0
        for number in range(1, arguments.runs + 1):
            training, epochs, seconds = fresh(), rng.randint(0, EPOCHS), rng.uniform(0.0, 0.3)
            process = training.start()
            training.wait_for(epochs)
            time.sleep(seconds)
            os.kill(process, signal.SIGKILL)
            ended(process)
            kept = training.kept() if training.checkpoint.exists() else "nothing"
            training.run()
            found = training.hashes(1)
            equal += found == expected
            moment, hashes = f"epoch {epochs:>2} + {seconds:.2f} s", f"{found[0][:12]}  {found[1][:12]}"
            print(f"{number:>3}  {moment}  {kept:<30}  {hashes}  {found == expected}", flush=True)

        training = fresh()
        process = training.start()
        while not (training.checkpoint / "fit.safetensors").exists():
            time.sleep(0.01)
        os.kill(process, signal.SIGTERM)
        ended(process)
        interrupted = training.hashes()
        training.run()
        gone_on = training.hashes() == expected and interrupted != expected
        print(f"ended by SIGTERM, published, and resumed: {'equal' if gone_on else 'DIFFERENT'}")
    print(f"equal hashes: {equal} of {arguments.runs}")
    return 0 if equal == arguments.runs and gone_on else 1


if __name__ == "__main__":
    sys.exit(main())
