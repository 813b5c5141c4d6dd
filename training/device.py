"""Where training computes, and whether it can compute there as asked."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from rowcast.models.errors import DeviceError


def training_device(name: str, precision: str) -> torch.device:
    """The device to train on, which computes in ``precision``.

    Raises:
        DeviceError: it is absent, or cannot.
    """
    device = resolve_device(name)
    check_precision(precision, device)
    return device


def resolve_device(name: str) -> torch.device:
    """The device to train on: ``auto`` is the first CUDA device where there is one.

    Raises:
        DeviceError: CUDA was demanded and is absent.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if re.fullmatch(r"cpu|cuda(:\d+)?", name) is None:
        raise DeviceError(f"a device is auto, cpu, cuda or cuda:N, got {name!r}")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        found = torch.cuda.device_count()
        raise DeviceError(f"{name} was demanded, but PyTorch finds {found} CUDA devices; use --device cpu or auto")
    return device


def check_precision(precision: str, device: torch.device) -> None:
    """Make sure that the device computes as asked, and not a hundred times as slowly.

    Raises:
        DeviceError: it has no instructions for bfloat16.
    """
    if precision != "bfloat16":
        return
    if device.type == "cuda":
        has = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        has = any(flag in _cpu_flags() for flag in ("avx512_bf16", "amx_bf16", "bf16"))
    if not has:
        raise DeviceError(f"fit.precision=bfloat16: {device} has no instructions for it; use float32")


@contextmanager
def same_bits(device: torch.device, *, asked: bool) -> Iterator[None]:
    """Where that is asked for, only kernels that add up in one order, for as long as this is entered.

    On a CPU all that we use do, see ``CategoryEmbedding``. On a CUDA device some of cuBLAS and PyTorch do not unless
    they are told to (https://docs.pytorch.org/docs/stable/notes/randomness.html).
    """
    if not asked or device.type != "cuda":
        yield
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when cuBLAS is first used
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


def _cpu_flags() -> frozenset[str]:
    """What the processor says it can do; nothing where the system does not tell."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return frozenset()
    return frozenset(next((line for line in lines if line.startswith(("flags", "Features"))), "").split())
