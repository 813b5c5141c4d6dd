"""Triton as the package nvidia-pytriton ships it, HTTP and gRPC: a Python model that takes a tensor a column."""

# mypy: ignore-errors
import os
import shutil
import sys
from pathlib import Path

from onnx_rows import CLASSES, COLUMNS, PORT
from pytriton.utils.distribution import get_libs_path, get_root_module_path, get_stub_path

DATA_TYPES = {"category": "TYPE_STRING", "timestamp": "TYPE_INT64"}
INPUTS = ",\n".join(
    f'  {{ name: "{name}", data_type: {DATA_TYPES.get(kind, "TYPE_FP64")}, dims: [1] }}' for name, kind in COLUMNS
)
CONFIG = f"""
name: "flights"
backend: "python"
max_batch_size: 1024
input [
{INPUTS}
]
output [
  {{ name: "label", data_type: TYPE_STRING, dims: [1] }},
  {{ name: "probabilities", data_type: TYPE_FP32, dims: [{len(CLASSES)}] }}
]
instance_group [{{ kind: KIND_CPU, count: 1 }}]
dynamic_batching {{ }}
"""

if __name__ == "__main__":
    here = Path(__file__).resolve().parent
    home = Path(os.environ["SCRATCH"]) / "tensors_triton"
    shutil.rmtree(home, ignore_errors=True)
    (home / "models/flights/1").mkdir(parents=True)
    (home / "models/flights/config.pbtxt").write_text(CONFIG)
    shutil.copy(here / "tensors_triton_model.py", home / "models/flights/1/model.py")
    backend = home / "backends/python"
    shutil.copytree(get_root_module_path() / "tritonserver/backends/python", backend)
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    shutil.copy(get_stub_path(version), backend / "triton_python_backend_stub")
    # the backend's interpreter finds its environment by PATH, and our module beside this file
    os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    os.environ["PYTHONPATH"] = str(here)
    os.environ["LD_LIBRARY_PATH"] = f"{get_libs_path()}:{Path(sys.base_prefix) / 'lib'}"
    server = get_root_module_path() / "tritonserver/bin/tritonserver"
    options = {
        "model-repository": home / "models",
        "backend-directory": home / "backends",
        "http-address": "127.0.0.1",
        "http-port": PORT,
        "http-thread-count": 2,
        "grpc-address": "127.0.0.1",
        "grpc-port": os.environ["SECOND_PORT"],
        "allow-metrics": "false",
    }
    os.execv(server, [str(server), *(f"--{name}={value}" for name, value in options.items())])  # noqa: S606
