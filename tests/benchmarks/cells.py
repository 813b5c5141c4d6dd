"""Cells of this folder's benchmarks; what they are is in ``loadtest/cells.py``."""

from __future__ import annotations

from pathlib import Path

from loadtest.cells import ROOT, cell, hash_of, machine

__all__ = ["HERE", "ROOT", "cell", "hash_of", "machine"]

HERE = Path(__file__).resolve().parent
