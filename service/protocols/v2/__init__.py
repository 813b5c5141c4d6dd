"""The Open Inference protocol (V2) over HTTP, in JSON and with binary tensors."""
