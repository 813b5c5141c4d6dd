"""Temporary folders that BentoML makes in each worker, made only where something goes into them.

A worker that is killed leaves its folders behind, and one that starts while the disk is full cannot make them.
"""

from __future__ import annotations

import tempfile
from functools import cached_property
from importlib import import_module
from types import SimpleNamespace
from typing import Any

_MODULES = ("_bentoml_impl.client.http", "_bentoml_impl.client.proxy2")


class LaterDirectory:
    """``tempfile.TemporaryDirectory``, made when its name is first asked for."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self._args = args
        self._options = options

    @cached_property
    def _made(self) -> tempfile.TemporaryDirectory[str]:
        return tempfile.TemporaryDirectory(*self._args, **self._options)

    @property
    def name(self) -> str:
        """The path."""
        return self._made.name

    def cleanup(self) -> None:
        """Remove it, if it was made."""
        if "_made" in self.__dict__:
            self._made.cleanup()


def make_folders_late() -> None:
    """Have BentoML's clients, which every worker has for the typed API, make no folder until they need one."""
    for name in _MODULES:
        module: Any = import_module(name)
        module.tempfile = SimpleNamespace(**{**vars(tempfile), "TemporaryDirectory": LaterDirectory})
