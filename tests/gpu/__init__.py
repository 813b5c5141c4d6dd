"""What needs a CUDA device: skipped where there is none."""
