"""The Open Inference protocol (V2) over gRPC."""
