"""Distillation: a fit that learns from what another model says of its training rows, beside their targets."""
