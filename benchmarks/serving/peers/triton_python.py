"""Triton as the package nvidia-pytriton ships it: its server binary, and a model repository of one Python model."""

# mypy: ignore-errors
import os
import shutil
import sys
from pathlib import Path

from pytriton.utils.distribution import get_libs_path, get_root_module_path, get_stub_path

PORT = os.environ["PORT"]
CONFIG = """
name: "flights"
backend: "python"
max_batch_size: 256
input [{ name: "rows", data_type: TYPE_STRING, dims: [1] }]
output [
  { name: "label", data_type: TYPE_STRING, dims: [1] },
  { name: "probabilities", data_type: TYPE_FP32, dims: [-1] }
]
instance_group [{ kind: KIND_CPU, count: 1 }]
dynamic_batching { }
"""

if __name__ == "__main__":
    here = Path(__file__).resolve().parent
    home = Path(os.environ["SCRATCH"]) / "triton"
    shutil.rmtree(home, ignore_errors=True)
    (home / "models/flights/1").mkdir(parents=True)
    (home / "models/flights/config.pbtxt").write_text(CONFIG)
    shutil.copy(here / "triton_model.py", home / "models/flights/1/model.py")
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
        "allow-grpc": "false",
        "allow-metrics": "false",
    }
    os.execv(server, [str(server), *(f"--{name}={value}" for name, value in options.items())])  # noqa: S606
