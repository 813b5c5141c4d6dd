"""What is read of a network from its file of weights alone."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.numpy import save_file

from rowcast.models.errors import ModelRefused
from rowcast.models.summary import read_layers


def test_weights_of_an_earlier_version_tell_the_arrays_of_their_network(tmp_path):
    file = tmp_path / "weights.safetensors"
    arrays = {
        "encoder.edges": np.zeros((2, 3)),
        "network.layers.0.linear.weight": np.zeros((4, 5), np.float32),
        "network.offsets": np.zeros(2, np.int64),
    }
    save_file(arrays, file)
    layers, n_values, n_bytes = read_layers(file)
    assert layers == [{"name": "layers.0.linear.weight", "kind": "F32", "shape": [], "parameters": 20}]
    assert (n_values, n_bytes) == (6 + 20 + 2, 6 * 8 + 20 * 4 + 2 * 8)


@pytest.mark.parametrize(
    "content", [b"", b"\x02\x00\x00\x00\x00\x00\x00\x00[]", b"\xff" * 20, b"\x05" + b"\0" * 7 + b"{a}"]
)
def test_what_is_no_file_of_weights_is_refused(tmp_path, content):
    file = tmp_path / "weights.safetensors"
    file.write_bytes(content)
    with pytest.raises(ModelRefused, match="cannot be read as weights"):
        read_layers(file)
