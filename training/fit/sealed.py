"""A file of tensors and facts that is written whole or not at all, and that tells when it was damaged.

It is a safetensors file. Its metadata hold the facts as JSON, and the SHA-256 of the file itself with 64 zeros in the
digest's place. Nothing in it is ever run, as a pickle would be.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load as from_safetensors
from safetensors.torch import save as to_safetensors
from torch import Tensor

from rowcast.models.plain_files import flush_folder

_UNSEALED = "0" * 64
_FACTS, _SEAL = "facts", "sha256"
_LENGTH = 8
"""Bytes of a safetensors file that say how long its header is."""


def write_sealed(file: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write a file through to the disk, in the place of one of that name: at any moment the one or the other is there.

    Args:
        file: where; its folder exists.
        tensors: on any device, by name.
        facts: what JSON can hold.

    Raises:
        OSError: the disk is full or not writable; what was there is there still.
    """
    on_cpu = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}
    content = to_safetensors(on_cpu, {_FACTS: json.dumps(facts), _SEAL: _UNSEALED})
    replace_file(file, content.replace(_UNSEALED.encode(), _digest(content), 1))


def read_sealed(file: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors, on the CPU, and the facts of a file.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not what was written.
    """
    content = file.read_bytes()
    try:
        end = _LENGTH + int.from_bytes(content[:_LENGTH], "little")
        about = json.loads(content[_LENGTH:end])["__metadata__"]
        seal = about[_SEAL].encode()
        facts = json.loads(about[_FACTS])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError("it has no header that can be read") from error
    if seal != _digest(content.replace(seal, _UNSEALED.encode(), 1)):
        raise ValueError("its SHA-256 differs")
    return from_safetensors(content), facts


def replace_file(file: Path, content: bytes) -> None:
    """Write a file, through to the disk, in the place of one of that name."""
    new = file.with_name(f"{file.name}.new")
    with open(new, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    new.replace(file)
    flush_folder(file.parent)


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest().encode()
