"""The functions of PyTorch that networks here are made of, each as nodes of ONNX.

A function takes the tracer, the tensor that PyTorch gave, and what PyTorch was given. Another one belongs here when a
module calls it; until then the module goes through PyTorch's own exporter.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from torch import Tensor

from rowcast.training.export.trace import Tracer, Untranslated

_END = np.iinfo(np.int64).max
_SELU = {"alpha": 1.67326319217681884765625, "gamma": 1.05070102214813232421875}


def _ints(t: Tracer, *values: int) -> ir.Value:
    return t.initializer(np.array(values, np.int64))


def _unary(op: str, **attributes: Any) -> Callable[..., ir.Value]:
    def write(t: Tracer, result: Tensor, x: Tensor) -> ir.Value:
        return t.node(op, t.value(x), **attributes)

    return write


def _binary(op: str) -> Callable[..., ir.Value]:
    def write(t: Tracer, result: Tensor, a: Any, b: Any) -> ir.Value:
        dtype = torch.result_type(a, b)
        return t.node(op, t.value(a, dtype), t.value(b, dtype))

    return write


def _is_lost(t: Tracer, operand: Any) -> bool:
    """Whether ONNX Runtime takes a constant for 0: it drops a sum with a single number that float32 reads as 0."""
    if t.follows(operand) or torch.as_tensor(operand).numel() != 1:
        return False
    value = float(operand)
    return value != 0.0 and np.float32(value) == 0.0


def _add(t: Tracer, result: Tensor, a: Any, b: Any) -> ir.Value:
    if _is_lost(t, a) or _is_lost(t, b):
        return _sub(t, result, b, -a) if _is_lost(t, a) else _sub(t, result, a, -b)
    return _binary("Add")(t, result, a, b)


def _sub(t: Tracer, result: Tensor, a: Any, b: Any) -> ir.Value:
    if _is_lost(t, b):  # a difference from a constant is left alone
        return t.node("Neg", _binary("Sub")(t, result, b, a))
    return _binary("Sub")(t, result, a, b)


def _reversed(write: Callable[..., ir.Value]) -> Callable[..., ir.Value]:
    return lambda t, result, a, b: write(t, result, b, a)


def _div(t: Tracer, result: Tensor, a: Any, b: Any) -> ir.Value:
    return t.node("Div", t.value(a, result.dtype), t.value(b, result.dtype))


def _mod(t: Tracer, result: Tensor, a: Tensor, b: int) -> ir.Value:
    if result.dtype != torch.int64:
        raise Untranslated("remainder of numbers that are not whole")
    return t.node("Mod", t.value(a), t.value(b, torch.int64), fmod=0)  # the sign of the divisor, as Python has it


def _floor_divide(t: Tracer, result: Tensor, a: Tensor, b: int) -> ir.Value:
    """Exact: what is left when the remainder is taken away divides without one."""
    whole = t.node("Sub", t.value(a), _mod(t, result, a, b))
    return t.node("Div", whole, t.value(b, torch.int64))


def _where(t: Tracer, result: Tensor, condition: Tensor, a: Any, b: Any) -> ir.Value:
    return t.node("Where", t.value(condition), t.value(a, result.dtype), t.value(b, result.dtype))


def _clamp(t: Tracer, result: Tensor, x: Tensor, low: float, high: float) -> ir.Value:
    return t.node("Clip", t.value(x), t.value(low, x.dtype), t.value(high, x.dtype))


def _to(t: Tracer, result: Tensor, x: Tensor, dtype: Any) -> ir.Value:
    return t.value(x, result.dtype)


def _reduced(op: str) -> Callable[..., ir.Value]:
    def write(t: Tracer, result: Tensor, x: Tensor, dim: int, keepdim: bool = False) -> ir.Value:
        return t.node(op, t.value(x), _ints(t, dim), keepdims=int(keepdim))

    return write


def _along(op: str) -> Callable[..., ir.Value]:
    def write(t: Tracer, result: Tensor, x: Tensor, dim: int) -> ir.Value:
        return t.node(op, t.value(x), axis=dim)

    return write


def _cat(t: Tracer, result: Tensor, tensors: Sequence[Tensor], dim: int = 0) -> ir.Value:
    parts = [t.value(part, result.dtype) for part in tensors if part.shape[dim]] or [t.value(tensors[0])]
    return parts[0] if len(parts) == 1 else t.node("Concat", *parts, axis=dim)


def _transpose(t: Tracer, result: Tensor, x: Tensor, a: int, b: int) -> ir.Value:
    order = list(range(x.dim()))
    order[a], order[b] = order[b], order[a]
    return t.node("Transpose", t.value(x), perm=order)


def _unsqueeze(t: Tracer, result: Tensor, x: Tensor, dim: int) -> ir.Value:
    return t.node("Unsqueeze", t.value(x), _ints(t, dim))


def _flatten(t: Tracer, result: Tensor, x: Tensor, start: int) -> ir.Value:
    if start != 1:
        raise Untranslated("flatten of what is not rows")
    return t.value(x) if x.dim() == 2 else t.node("Reshape", t.value(x), _ints(t, -1, result.shape[1]))


def _getitem(t: Tracer, result: Tensor, x: Tensor, index: Any) -> ir.Value:
    """Slices of several axes, and positions along one."""
    items = list(index) if isinstance(index, tuple) else [index]
    if any(item is Ellipsis for item in items):
        at = next(i for i, item in enumerate(items) if item is Ellipsis)
        items[at : at + 1] = [slice(None)] * (x.dim() - len(items) + 1)
    if sum(isinstance(item, Tensor) for item in items) > 1:
        raise Untranslated("positions along several axes")
    value = t.value(x)
    for axis, item in enumerate(items):
        if isinstance(item, Tensor) and item.dtype == torch.int64:
            if t.follows(item) or not torch.equal(item, torch.arange(x.shape[axis])):
                value = t.node("Gather", value, t.value(item), axis=axis)
        elif isinstance(item, slice) and item.step is None:
            start, end = item.start or 0, _END if item.stop is None else item.stop
            if start != 0 or end not in (_END, x.shape[axis]):
                value = t.node("Slice", value, _ints(t, start), _ints(t, end), _ints(t, axis))
        else:
            raise Untranslated(f"indexing by {item!r}")
    return value


def _embedding(
    t: Tracer,
    result: Tensor,
    codes: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> ir.Value:
    if max_norm is not None:
        raise Untranslated("embedding with a largest norm")
    return t.node("Gather", t.value(weight), t.value(codes), axis=0)


def _layer_norm(
    t: Tracer, result: Tensor, x: Tensor, shape: Sequence[int], weight: Tensor, bias: Tensor, eps: float
) -> ir.Value:
    return t.node("LayerNormalization", *map(t.value, (x, weight, bias)), axis=-len(shape), epsilon=eps)


def _relu(t: Tracer, result: Tensor, x: Tensor, inplace: bool = False) -> ir.Value:
    return t.node("Relu", t.value(x))


def _leaky_relu(t: Tracer, result: Tensor, x: Tensor, negative_slope: float, inplace: bool) -> ir.Value:
    return t.node("LeakyRelu", t.value(x), alpha=negative_slope)


def _selu(t: Tracer, result: Tensor, x: Tensor, inplace: bool) -> ir.Value:
    return t.node("Selu", t.value(x), **_SELU)


def _gelu(t: Tracer, result: Tensor, x: Tensor, approximate: str) -> ir.Value:
    return t.node("Gelu", t.value(x), approximate=approximate)


def _silu(t: Tracer, result: Tensor, x: Tensor, inplace: bool) -> ir.Value:
    return t.node("Mul", t.value(x), t.node("Sigmoid", t.value(x)))


def _linear(t: Tracer, result: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> ir.Value:
    product = t.node("MatMul", t.value(x), t.value(weight.T))
    return product if bias is None else t.node("Add", product, t.value(bias))


def _batch_norm(
    t: Tracer,
    result: Tensor,
    x: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> ir.Value:
    """Of rows, by running statistics: a scale and a shift."""
    if training or x.dim() != 2:
        raise Untranslated("batch_norm of what is not rows, or by statistics of the batch")
    scale = torch.rsqrt(running_var + eps) if weight is None else weight * torch.rsqrt(running_var + eps)
    shift = -running_mean * scale if bias is None else bias - running_mean * scale
    return t.node("Add", t.node("Mul", t.value(x), t.value(scale)), t.value(shift))


def _dropout(t: Tracer, result: Tensor, x: Tensor, p: float, training: bool, inplace: bool = False) -> ir.Value:
    if training:
        raise Untranslated("dropout in training")
    return t.value(x)


def _elu(t: Tracer, result: Tensor, x: Tensor, alpha: float = 1.0, inplace: bool = False) -> ir.Value:
    return t.node("Elu", t.value(x), alpha=alpha)


def _softplus(t: Tracer, result: Tensor, x: Tensor, beta: float = 1, threshold: float = 20) -> ir.Value:
    if beta != 1 or x.dtype != torch.float32:
        raise Untranslated("softplus of another steepness, or of doubles")
    return t.node("Softplus", t.value(x))


def _mish(t: Tracer, result: Tensor, x: Tensor, inplace: bool) -> ir.Value:
    return t.node("Mul", t.value(x), t.node("Tanh", t.node("Softplus", t.value(x))))


OPERATORS: dict[str, Callable[..., ir.Value]] = {
    "add": _add,
    "sub": _sub,
    "rsub": _reversed(_sub),
    "mul": _binary("Mul"),
    "div": _div,
    "eq": _binary("Equal"),
    "remainder": _mod,
    "floordiv": _floor_divide,
    "matmul": _binary("MatMul"),
    "maximum": _binary("Max"),
    "minimum": _binary("Min"),
    "logical_and": _binary("And"),
    "isnan": _unary("IsNaN"),
    "exp": _unary("Exp"),
    "log": _unary("Log"),
    "sqrt": _unary("Sqrt"),
    "abs": _unary("Abs"),
    "neg": _unary("Neg"),
    "sin": _unary("Sin"),
    "cos": _unary("Cos"),
    "tanh": _unary("Tanh"),
    "where": _where,
    "clamp": _clamp,
    "to": _to,
    "sum": _reduced("ReduceSum"),
    "mean": _reduced("ReduceMean"),
    "logsumexp": _reduced("ReduceLogSumExp"),
    "softmax": _along("Softmax"),
    "log_softmax": _along("LogSoftmax"),
    "cat": _cat,
    "transpose": _transpose,
    "unsqueeze": _unsqueeze,
    "flatten": _flatten,
    "getitem": _getitem,
    "embedding": _embedding,
    "layer_norm": _layer_norm,
    "relu": _relu,
    "leaky_relu": _leaky_relu,
    "selu": _selu,
    "gelu": _gelu,
    "silu": _silu,
    "mish": _mish,
    "sigmoid": _unary("Sigmoid"),
    "elu": _elu,
    "softplus": _softplus,
    "linear": _linear,
    "batch_norm": _batch_norm,
    "dropout": _dropout,
}
"""By the name of the function, less the ``__`` of an operator of Python."""
