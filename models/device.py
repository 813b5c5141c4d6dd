"""Which ONNX Runtime execution provider to use: found by looking for a device, not by asking what was compiled in."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import io
import logging
import re
import sys

import onnxruntime as ort

from rowcast.models.errors import DeviceError

logger = logging.getLogger("rowcast.models")

_CUDA_OPTIONS = {"use_tf32": "0"}
"""TF32, which ONNX Runtime is at by default, keeps 10 bits of a factor: probabilities differ by 2e-4 from the CPU's."""


def cuda_device_count() -> int:
    """CUDA devices the driver reports; 0 without a driver.

    ``onnxruntime.get_available_providers()`` lists CUDA on machines that have no GPU, so the driver itself is asked.
    """
    library = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        driver = ctypes.CDLL(library)
    except OSError:
        return 0
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value


@functools.cache
def load_cuda_libraries() -> None:
    """Load CUDA and cuDNN from where pip has put them, if it has, as it does for PyTorch: no system looks there.

    Without them ONNX Runtime falls back to the CPU; ``check_providers`` notices.
    """
    with contextlib.redirect_stdout(io.StringIO()):  # whatever it misses it prints, also what nobody needs
        ort.preload_dlls()


def providers(device: str) -> list[str | tuple[str, dict[str, str]]]:
    """Execution providers for ``auto``, ``cpu``, ``cuda`` or ``cuda:1``, first choice first.

    Raises:
        DeviceError: the text is none of these, or CUDA was demanded and is absent.
    """
    match = re.fullmatch(r"auto|cpu|cuda(?::(\d+))?", device)
    if match is None:
        raise DeviceError(f"a device is auto, cpu, cuda or cuda:N, got {device!r}")
    if device == "cpu":
        return ["CPUExecutionProvider"]
    index = int(match.group(1) or 0)
    compiled_in = "CUDAExecutionProvider" in ort.get_available_providers()
    found = cuda_device_count()
    if compiled_in and index < found:
        load_cuda_libraries()
        return [("CUDAExecutionProvider", {"device_id": str(index), **_CUDA_OPTIONS}), "CPUExecutionProvider"]
    if device == "auto":
        return ["CPUExecutionProvider"]
    why = "this ONNX Runtime was built without CUDA" if not compiled_in else f"the driver reports {found} CUDA devices"
    raise DeviceError(f"{device} was demanded, but {why}; use cpu or auto to run without")


def check_providers(device: str, wanted: list[str | tuple[str, dict[str, str]]], got: list[str]) -> None:
    """Make sure a session runs where it was told to: ONNX Runtime falls back to the CPU without an error.

    Where ``auto`` has found a GPU and the session does without, a warning is logged.

    Raises:
        DeviceError: CUDA was demanded and the session does without.
    """
    if not isinstance(wanted[0], tuple) or wanted[0][0] in got:
        return
    why = "ONNX Runtime could not start its CUDA provider (are the CUDA and cuDNN libraries installed?)"
    if device != "auto":
        raise DeviceError(f"{device} was demanded, but {why}; use cpu or auto to run without")
    logger.warning("there is a GPU, but %s: the model runs on the CPU", why)
