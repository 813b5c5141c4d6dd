"""Skips these tests where PyTorch or the driver finds no CUDA device."""

from __future__ import annotations

import pytest
import torch

from rowcast.models.device import cuda_device_count


@pytest.fixture(autouse=True, scope="session")
def _gpu() -> None:
    if not torch.cuda.is_available() or cuda_device_count() == 0:
        pytest.skip(f"PyTorch finds {torch.cuda.device_count()} CUDA devices and the driver {cuda_device_count()}")
