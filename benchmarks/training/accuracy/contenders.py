"""Who is measured: how each is started, what it is told, and the code that makes it what it is."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.cells import ROOT, hash_of
from benchmarks.serving.harness.environments import python_of
from benchmarks.training.accuracy.datasets import Parts
from benchmarks.training.accuracy.scores import metrics_code
from rowcast.training.config import Config, make_config, to_toml

PEERS = ROOT / "benchmarks" / "training" / "peers"
THREADS = 2
_TASKS = ("regression", "binary", "multiclass")


def exact(environment: str, package: str) -> str:
    """The line of a package in the list of an environment, with its exact version."""
    lines = (PEERS / f"{environment}.txt").read_text().splitlines()
    return next(line for line in lines if line.partition("==")[0].lower() == package)


@dataclass(frozen=True)
class Rowcast:
    """Rowcast at a preset, with ``settings`` as ``--set`` takes them; untuned without any.

    ``label`` tells it from others of the same preset.
    """

    preset: str
    settings: tuple[str, ...] = ()
    validation_only: bool = False
    tasks: tuple[str, ...] = _TASKS
    label: str = ""

    @property
    def short(self) -> str:
        """In filters and column heads."""
        return self.label or self.preset

    @property
    def name(self) -> str:
        """In cells."""
        return f"rowcast-{self.short}"

    @property
    def title(self) -> str:
        """In tables."""
        return f"**Rowcast, {self.short}**"

    @property
    def learns_validation(self) -> bool:
        """Whether a last fit may learn validation rows, of which its answers say nothing then."""
        return make_config(settings=self.settings, overrides={"preset": self.preset}).fit.refit is not False

    def config(self, parts: Parts, seed: int) -> Config:
        """Of one fit.

        Raises:
            ConfigError: a setting is none.
        """
        return make_config(settings=self.settings, overrides=self._told(parts, seed))

    def _told(self, parts: Parts, seed: int) -> dict[str, Any]:
        """What is told of a table and a seed."""
        data = {**parts.about["config"].get("data", {}), "target": parts.about["target"]}
        return {**parts.about["config"], "preset": self.preset, "seed": seed, "device": "cpu", "data": data}

    def toml(self, parts: Parts, seed: int) -> str:
        """The fields that are told and no others: `best` tries other values of those that nobody has set."""
        config, fields = self.config(parts, seed), {}
        for name, value in self._told(parts, seed).items():
            fields |= {f"{name}.{key}": inner for key, inner in value.items()} if name == "data" else {name: value}
        for setting in self.settings:
            name = setting.partition("=")[0]
            section, _, field = name.rpartition(".")
            fields[name] = getattr(getattr(config, section) if section else config, field)
        return "".join(f"{name} = {json.dumps(value)}\n" for name, value in fields.items())

    def code(self, parts: Parts, seed: int) -> str:
        """Hash of all that decides the result: our code, the config, the rows, the metrics."""
        files = [file for room in ("training", "models") for file in (ROOT / room).rglob("*.py")]
        config = to_toml(self.config(parts, seed))
        return hash_of(
            [*files, Path(__file__).with_name("ours.py")], config, str(parts.about["content"]), metrics_code()
        )

    def command(self, parts: Parts, out: Path, seed: int, scratch: Path) -> list[str]:
        """What fits it and writes its answers to ``out``."""
        config = out.with_suffix(".toml")
        config.write_text(self.toml(parts, seed))
        options = ["--threads", str(THREADS), *(["--validation-only"] if self.validation_only else [])]
        return [
            *(sys.executable, "-m", "benchmarks.training.accuracy.ours", str(parts.folder), str(out), str(config)),
            *options,
        ]


@dataclass(frozen=True)
class Peer:
    """Another library: ``script`` in the folder of peers runs in an environment, whose list holds ``package``."""

    name: str
    title: str
    script: str
    environment: str
    package: str
    options: tuple[str, ...] = ()
    tasks: tuple[str, ...] = _TASKS

    def code(self, parts: Parts, seed: int) -> str:
        """Hash of all that decides the result: the peer's code and version, the rows, the metrics."""
        version = exact(self.environment, self.package)
        settings = (version, *self.options, f"seed {seed}", str(parts.about["content"]), metrics_code())
        return hash_of([PEERS / self.script, PEERS / "parts.py"], *settings)

    def command(self, parts: Parts, out: Path, seed: int, scratch: Path) -> list[str]:
        """What fits it and writes its answers to ``out``.

        Raises:
            NotMade: its environment cannot be made.
        """
        options = ["--seed", str(seed), "--threads", str(THREADS), *self.options]
        return [
            *(
                python_of(PEERS / f"{self.environment}.txt", scratch),
                str(PEERS / self.script),
                str(parts.folder),
                str(out),
            ),
            *options,
        ]


Contender = Rowcast | Peer

BUDGET_S = 300
"""Seconds that the most accurate of each may take; AutoGluon's program says the same."""

OURS: Sequence[Rowcast] = (
    *map(Rowcast, ("quick", "balanced", "best")),
    Rowcast("best", (f"fit.budget_s={BUDGET_S}",), label=f"best-{BUDGET_S}s"),
)

PEER_LIST: Sequence[Peer] = (
    Peer("catboost", "CatBoost", "catboost_defaults.py", "trees", "catboost"),
    Peer("lightgbm", "LightGBM", "lightgbm_defaults.py", "trees", "lightgbm"),
    Peer("xgboost", "XGBoost", "xgboost_defaults.py", "trees", "xgboost"),
    Peer("realmlp", "RealMLP-TD", "realmlp_td.py", "realmlp_td", "pytabkit"),
    Peer(
        "realmlp-log-loss",
        "RealMLP-TD, for log-loss",
        "realmlp_td.py",
        "realmlp_td",
        "pytabkit",
        options=("--for-log-loss",),
        tasks=("binary", "multiclass"),
    ),
    Peer(
        "autogluon",
        f"AutoGluon, best_quality, {BUDGET_S} s",
        "autogluon_best.py",
        "autogluon",
        "autogluon.tabular",
    ),
)
