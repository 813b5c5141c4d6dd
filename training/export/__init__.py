"""The trained network as one ONNX graph, and the gate it has to pass."""
