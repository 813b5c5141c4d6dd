"""What a module computes, as a graph of ONNX: each function of PyTorch that it calls is written down as it is called.

The module runs once, on a few rows. What does not depend on them is a number by then and becomes an initializer, and a
branch is taken or not. PyTorch's own exporter comes to the same nodes by four passes over a symbolic program, which
take seconds; this takes milliseconds. Which functions are known says :mod:`rowcast.training.export.operators`.

What a run on a few rows could get wrong is a size: that of the rows is read by nothing here, and the gate asks in
batches of several sizes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from inspect import signature
from typing import Any

import onnx_ir as ir
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

ROWS = 5
_SIZES = ("get", "len", "size", "dim")
"""Functions that read what a tensor looks like, and not what it holds."""


class Untranslated(Exception):
    """A module calls a function that is not known, or reads a value that hangs on the rows."""


class Tracer(TorchFunctionMode):
    """Writes nodes while a module runs.

    Args:
        operators: writes the nodes of a function, by its name; see :mod:`rowcast.training.export.operators`.
        names: of parameters and buffers, by the tensor's ``id``.
    """

    def __init__(self, operators: Mapping[str, Callable[..., ir.Value]], names: Mapping[int, str]) -> None:
        super().__init__()
        self.nodes: list[ir.Node] = []
        self.initializers: dict[Any, ir.Value] = {}
        self._operators, self._names = operators, names
        self._followed: dict[int, tuple[Tensor, ir.Value]] = {}  # holds the tensors, or an id might come again
        self._written: dict[Any, ir.Value] = {}

    def follow(self, tensor: Tensor, value: ir.Value) -> None:
        """Whatever is made of a tensor is made of this value in the graph."""
        self._followed[id(tensor)] = (tensor, value)

    def follows(self, operand: Any) -> bool:
        """Whether an operand, or one of several, hangs on the rows."""
        if isinstance(operand, list | tuple):
            return any(map(self.follows, operand))
        return isinstance(operand, Tensor) and id(operand) in self._followed

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call a function of PyTorch, and write it down where it hangs on the rows."""
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if not self.follows([*args, *kwargs.values()]):
            return result
        name = func.__name__.strip("_")
        if not isinstance(result, Tensor):
            if name in _SIZES:
                return result
            raise Untranslated(name)
        operator = self._operators.get(name)
        if operator is None:
            raise Untranslated(name)
        try:
            taken = signature(operator).bind(self, result, *args, **kwargs)
        except TypeError as error:
            raise Untranslated(f"{name}: {error}") from error
        self.follow(result, operator(*taken.args, **taken.kwargs))
        return result

    def value(self, operand: Any, dtype: torch.dtype | None = None) -> ir.Value:
        """What an operand is in the graph: a value that hangs on the rows, or an initializer.

        Args:
            operand: a tensor, or a number.
            dtype: to cast it to; its own where there is none.
        """
        if self.follows(operand):
            value = self._followed[id(operand)][1]
            if dtype in (None, operand.dtype):
                return value
            return self.node("Cast", value, to=self.kind(dtype))
        if isinstance(operand, Tensor):
            name = self._names.get(id(operand)) if dtype in (None, operand.dtype) else None
            return self.initializer(operand.detach().to(dtype or operand.dtype).numpy(), name)
        return self.initializer(torch.tensor(operand, dtype=dtype).numpy())

    def initializer(self, array: NDArray[Any], name: str | None = None) -> ir.Value:
        """An array in the graph; without a name, the same array is the same initializer."""
        key = name or (array.dtype, array.shape, array.tobytes())
        if key not in self.initializers:
            name = name or f"constant_{len(self.initializers)}"
            self.initializers[key] = ir.val(name, const_value=ir.tensor(array, name=name))
        return self.initializers[key]

    def node(self, op: str, *inputs: ir.Value, **attributes: Any) -> ir.Value:
        """The output of a node, which is written once: the same node of the same values is the same."""
        key = (op, tuple(map(id, inputs)), repr(attributes))
        if key not in self._written:
            made = ir.node(op, list(inputs), attributes)
            made.outputs[0].name = f"{op.lower()}_{len(self.nodes)}"
            self.nodes.append(made)
            self._written[key] = made.outputs[0]
        return self._written[key]

    @staticmethod
    def kind(dtype: torch.dtype | None) -> int:
        """The number of an element type in ONNX."""
        return ir.DataType.from_numpy(torch.empty(0, dtype=dtype).numpy().dtype).value


def trace(
    module: nn.Module, operators: Mapping[str, Callable[..., ir.Value]], inputs: Mapping[str, Tensor], opset: int
) -> ir.Graph:
    """Run a module and write down what it computes.

    Args:
        module: on the CPU, in evaluation mode; gives a tensor, or several.
        operators: see :data:`rowcast.training.export.operators.OPERATORS`.
        inputs: name to example, ``[ROWS, ...]``.
        opset: version of ONNX's operators.

    Returns:
        a graph whose inputs are named so, and whose outputs are the tensors in their order.

    Raises:
        Untranslated: the module calls a function that is not known.
    """
    named = [*module.named_parameters(), *module.named_buffers()]
    tracer = Tracer(operators, {id(tensor): name for name, tensor in named})
    taken = []
    for name, example in inputs.items():
        value = ir.val(name, ir.DataType(tracer.kind(example.dtype)), ["rows", *example.shape[1:]])
        tracer.follow(example, value)
        taken.append(value)
    with torch.no_grad(), tracer:
        result = module(*inputs.values())
    outputs = [tracer.value(tensor) for tensor in (result if isinstance(result, tuple) else (result,))]
    nodes = list(_needed(tracer.nodes, outputs))[::-1]
    used = {value for node in nodes for value in node.inputs}
    initializers = [value for value in tracer.initializers.values() if value in used]
    return ir.Graph(taken, outputs, nodes=nodes, initializers=initializers, opset_imports={"": opset}, name="core")


def _needed(nodes: Sequence[ir.Node], outputs: Sequence[ir.Value]) -> Iterator[ir.Node]:
    """The nodes that the outputs hang on, last first."""
    needed = set(outputs)
    for node in reversed(nodes):
        if node.outputs[0] in needed:
            needed.update(value for value in node.inputs if value is not None)
            yield node
