"""The messages of Open Inference over gRPC, made of the compiled ``open_inference.proto``.

They live in a pool of their own: two files that define ``inference.ModelInferRequest`` cannot share one, and a process
may well hold Triton's client, too.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

SERVICE = "inference.GRPCInferenceService"
COMPILED = Path(__file__).with_name("open_inference.binpb")
"""Written by ``make proto``."""

POOL = DescriptorPool()
for _file in FileDescriptorSet.FromString(COMPILED.read_bytes()).file:
    POOL.AddSerializedFile(_file.SerializeToString())

_METHODS = POOL.FindServiceByName(SERVICE).methods
REQUEST_CLASSES: dict[str, type[Any]] = {method.name: GetMessageClass(method.input_type) for method in _METHODS}
"""The class of the message that each method takes."""
RESPONSE_CLASSES: dict[str, type[Any]] = {method.name: GetMessageClass(method.output_type) for method in _METHODS}
"""The class of the message that it answers with."""
